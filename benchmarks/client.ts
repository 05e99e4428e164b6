// The TypeScript client's turns: bun client.ts NODE_MODULES WARM_URL URL TURNS
// Prints the CPU and wall time of a turn, in seconds, and how much the memory's peak grew, in KB.
const [modules, warmUrl, url, turns] = process.argv.slice(2);
const { streamPiNative } = await import(
	Bun.resolveSync("@oh-my-pi/pi-ai/providers/pi-native-client", modules)
);

async function turn(baseUrl: string): Promise<number> {
	const model = { id: "y", provider: "x", api: "openai-completions", baseUrl, transport: "pi-native" };
	const message = { role: "user", content: "Why is the sky blue?", timestamp: 0 };
	const stream = streamPiNative(model as never, { messages: [message] } as never);
	let deltas = 0;
	for await (const event of stream) {
		if (event.type === "text_delta" || event.type === "toolcall_delta") deltas++;
	}
	await stream.result();
	return deltas;
}

await turn(warmUrl);
const peak = process.resourceUsage().maxRSS;
const cpu = process.cpuUsage();
const wall = performance.now();
let returned = 0;
for (let i = 0; i < Number(turns); i++) returned = await turn(url);
const used = process.cpuUsage(cpu);
console.log(
	JSON.stringify({
		cpu: [(used.user + used.system) / 1e6 / Number(turns)],
		wall: [(performance.now() - wall) / 1e3 / Number(turns)],
		grown: process.resourceUsage().maxRSS - peak,
		returned,
	}),
);
