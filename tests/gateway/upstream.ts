/**
 * A fake OpenAI `/chat/completions`. The model's id says how the answer goes:
 *
 *   tokens    the last user message, word by word         units    the same, one UTF-16 unit at a time
 *   thinking  reasoning, then text                        tools    a long tool call in small pieces
 *   mixed     reasoning, text, two tool calls             forever  a token every 5 ms, without an end
 *   silent    headers and not one token                   stall    three tokens, then nothing
 *   die       three tokens, then the connection is cut    cut      three tokens, then an end too early
 *   agent     a call of the first tool, or of the chosen one, with the values of FACTS and the name in
 *             quotes; given its result, that result as text
 *   429, 500  that status, with a long retry-after
 */

import { tell } from "./seen";

export interface UpstreamCall {
	model: string;
	authorization: string | null;
	body: any;
	state: "open" | "finished" | "died" | "hung up";
	sent: number;
}

type Delta = Record<string, unknown>;

const USAGE = { prompt_tokens: 11, completion_tokens: 7, total_tokens: 18 };
const NOTE = Array.from({ length: 32 }, (_, n) => `line ${n} of the note`).join("\n");

/** What the model "agent" knows: a value for each argument that a tool may have. */
const FACTS: Record<string, unknown> = {
	...{ city: "Oslo", country: "Norway", population: 709037, location: "Oslo" },
	...{ input: 3, a: 3, b: 4, setup: "Why?", punchline: "Because.", description: "A company.", answer_style: "loud" },
};

const words = (text: string): Delta[] => (text.match(/\s*\S+\s*/g) ?? []).map((content) => ({ content }));
const units = (text: string): Delta[] => text.split("").map((content) => ({ content }));
const reasoning = (text: string): Delta[] => words(text).map(({ content }) => ({ reasoning_content: content }));

function toolCall(index: number, id: string, name: string, args: object): Delta[] {
	const call = (more: object) => ({ tool_calls: [{ index, ...more }] });
	const pieces = JSON.stringify(args).match(/.{1,12}/gsu)!;
	return [
		call({ id, type: "function", function: { name, arguments: "" } }),
		...pieces.map((piece) => call({ function: { arguments: piece } })),
	];
}

function lastUserText(body: any): string {
	const content = body.messages.findLast((message: any) => message.role === "user")?.content ?? "";
	return typeof content === "string" ? content : content.map((part: any) => part.text ?? "").join("");
}

function agent(body: any): Delta[] {
	const last = body.messages.at(-1);
	const chosen = body.tool_choice?.function?.name;
	const forced = chosen || body.tool_choice === "required";
	const tools: any[] = (body.tools ?? []).map((tool: any) => tool.function);
	const tool = chosen ? tools.find((tool) => tool.name === chosen) : tools[0];
	if (!tool) return words(lastUserText(body));
	if (last.role === "tool" && !forced) return words(`The tool says: ${last.content}`);
	const facts: typeof FACTS = { ...FACTS, customer_name: lastUserText(body).match(/'(.*)'/)?.[1] };
	const names = Object.keys(tool.parameters.properties ?? {});
	return toolCall(0, "call_1", tool.name, Object.fromEntries(names.map((name) => [name, facts[name]])));
}

function* endless(): Generator<Delta> {
	for (let n = 0; ; n++) yield { content: `token ${n} ` };
}

function answer(body: any): Iterable<Delta> {
	switch (body.model) {
		case "units":
			return units(lastUserText(body));
		case "thinking":
			return [...reasoning("The question is short. So is the answer."), ...words("This is the answer.")];
		case "tools":
			return toolCall(0, "call_1", "write", { path: "Zürich/°.txt", lines: [1, 2.5, null], text: NOTE });
		case "mixed":
			return [
				...reasoning("Two cities, two calls."),
				...words("I look both up."),
				...toolCall(0, "call_a", "weather", { city: "Oslo" }),
				...toolCall(1, "call_b", "weather", { city: "Rome" }),
			];
		case "agent":
			return agent(body);
		case "forever":
			return endless();
		case "silent":
			return [];
		case "stall":
		case "die":
		case "cut":
			return words("three tokens only");
		default:
			return words(lastUserText(body));
	}
}

function chunk(model: string, choice: object | undefined, more: object = {}): string {
	const choices = choice ? [{ index: 0, finish_reason: null, ...choice }] : [];
	const head = { id: "chatcmpl-1", object: "chat.completion.chunk", created: 1_700_000_000, model };
	return `data: ${JSON.stringify({ ...head, choices, ...more })}\n\n`;
}

function become(call: UpstreamCall, state: UpstreamCall["state"]): void {
	call.state = state;
	tell();
}

async function* body(call: UpstreamCall): AsyncGenerator<string> {
	const { model } = call;
	let calls = false;
	yield ": the headers are out\n\n";
	for (const delta of answer(call.body)) {
		yield chunk(model, { delta });
		calls ||= "tool_calls" in delta;
		call.sent++;
		await Bun.sleep(model === "forever" ? 5 : 1);
		if (call.state !== "open") return;
	}
	if (model === "silent" || model === "stall") while (call.state === "open") await Bun.sleep(10);
	if (call.state !== "open") return;
	if (model === "die") {
		// What is still on its way when the connection breaks is lost.
		await Bun.sleep(100);
		become(call, "died");
		throw new Error("the fake upstream dies, as asked");
	}
	if (model !== "cut") {
		yield chunk(model, { delta: {}, finish_reason: calls ? "tool_calls" : "stop" });
		yield chunk(model, undefined, { usage: USAGE });
		yield "data: [DONE]\n\n";
	}
	become(call, "finished");
}

export async function complete(request: Request, log: UpstreamCall[]): Promise<Response> {
	const asked: any = await request.json();
	const authorization = request.headers.get("authorization");
	const call: UpstreamCall = { model: asked.model, authorization, body: asked, state: "open", sent: 0 };
	log.push(call);
	tell();
	if (/^\d+$/.test(call.model)) {
		become(call, "finished");
		const error = { message: `the fake upstream says ${call.model}`, type: "fake_error" };
		// An hour is longer than the gateway is willing to wait, so it gives up at once.
		return Response.json({ error }, { status: Number(call.model), headers: { "retry-after": "3600" } });
	}
	request.signal.addEventListener("abort", () => {
		if (call.state === "open") become(call, "hung up");
	});
	return new Response(body(call) as any, { headers: { "content-type": "text/event-stream" } });
}
