/**
 * The real omp auth-gateway on a free loopback port, in front of upstreams that do what a test says.
 *
 * Three listeners: the gateway itself; a fake `/chat/completions` that the gateway's own OpenAI
 * client calls for the `fake/*` models (scripted.ts has the endpoints of the `scripted/*` models);
 * and `GET /upstream`, where a test sees what both of them saw, with `?after=N` as soon as that is
 * another than version N. One line of JSON on stdout says where they are. The process ends when its
 * stdin closes, so that it cannot outlive the test run that started it.
 */

import { registerCustomApi } from "@oh-my-pi/pi-ai/api-registry";
import { startAuthGateway } from "@oh-my-pi/pi-ai/auth-gateway";
import { createMockModel, type MockHandler, registerMockApi } from "@oh-my-pi/pi-ai/providers/mock";
import { AssistantMessageEventStream } from "@oh-my-pi/pi-ai/utils/event-stream";
import { buildModel } from "@oh-my-pi/pi-catalog/build";
import { completions, messages, script } from "./scripted";
import { otherThan, seen, tell } from "./seen";
import { complete } from "./upstream";

process.stdin.on("end", () => process.exit(0)).resume();

const token = crypto.randomUUID();

// ---- what the tests ask -------------------------------------------------------------------------

const control = Bun.serve({
	hostname: "127.0.0.1",
	port: 0,
	idleTimeout: 0,
	routes: {
		"/upstream": {
			GET: async (request) => {
				const known = new URL(request.url).searchParams.get("after");
				return Response.json(await otherThan(Number(known ?? -1)));
			},
			DELETE: () => {
				Object.assign(seen, { gateway: [], upstream: [], usage: [] });
				tell();
				return new Response(null, { status: 204 });
			},
		},
		"/script": {
			PUT: async (request) => {
				script.splice(0, script.length, ...(await request.json()));
				return new Response(null, { status: 204 });
			},
		},
		"/v1/chat/completions": { POST: (request) => complete(request, seen.upstream) },
		"/scripted/v1/messages": { POST: (request) => messages(request, seen.upstream) },
		"/scripted/v1/chat/completions": { POST: (request) => completions(request, seen.upstream) },
	},
});

// ---- mock/*: scripted inside the gateway --------------------------------------------------------

/** Options as plain JSON, without what the gateway adds for itself. */
const wireOptions = ({ apiKey, signal, providerSessionState, ...rest }: any) => rest;

const mocks: Record<string, MockHandler> = {
	text: {
		content: ["Hello from the mock."],
		usage: { input: 7, output: 5, cost: { input: 0.001, output: 0.002 } },
		responseId: "mock-response-1",
	},
	thinking: { content: [{ type: "thinking", thinking: "Let me see.", thinkingSignature: "sig-1" }, "Seen."] },
	echo: (context, options) => ({ content: [JSON.stringify({ context, options: wireOptions(options) })] }),
	error: { stopReason: "error", errorMessage: "the mock provider failed", content: ["So far "] },
	length: { stopReason: "length", content: ["cut sho"] },
	slow: { delayMs: 60_000, content: ["too late"] },
	broken: () => {
		throw new Error("the mock broke inside the gateway");
	},
};

registerMockApi();

// ---- openai/events: the events that the last message spells out as JSON ---------------------------

// It passes for a first-party model, because the gateway lets only the events of those through as
// they are: those of others it reads, heals of leaked thinking, and writes again.
registerCustomApi("script", (_model, context) => {
	const stream = new AssistantMessageEventStream();
	for (const event of JSON.parse(context.messages.at(-1)?.content as string)) {
		if (event.fail) stream.fail(new Error(event.fail));
		else stream.push(event);
	}
	return stream;
});
const scripted = createMockModel({ id: "events", provider: "openai", baseUrl: "" });

// ---- fake/*: a provider behind the gateway's own OpenAI client -----------------------------------

const fakes = [
	...["tokens", "units", "thinking", "tools", "mixed", "agent", "forever"],
	...["silent", "stall", "die", "cut", "429", "500"],
];

const provider = (id: string) =>
	buildModel({
		id,
		name: `Fake ${id}`,
		api: "openai-completions",
		provider: "fake",
		baseUrl: `${control.url.origin}/v1`,
		reasoning: false,
		input: ["text", "image"],
		cost: { input: 3, output: 15, cacheRead: 0.3, cacheWrite: 3.75 },
		contextWindow: 128_000,
		maxTokens: 4096,
	});

// ---- scripted/*: both translations of the gateway, in front of the answers of `PUT /script` --------

const translated = (api: string, id: string, baseUrl: string, reasoning: boolean) =>
	buildModel({
		...{ id, name: `Scripted ${id}`, api, provider: "scripted", baseUrl, reasoning, input: ["text"] },
		cost: { input: 3, output: 15, cacheRead: 0.3, cacheWrite: 3.75 },
		...{ contextWindow: 200_000, maxTokens: 8192 },
	} as any);

const models = [
	...Object.entries(mocks).map(([id, handler]) => createMockModel({ id, handler })),
	createMockModel({ id: "keyless", provider: "unknown" }),
	Object.assign(scripted, { api: "script" }),
	...fakes.map(provider),
	translated("anthropic-messages", "claude-sonnet-4-5", `${control.url.origin}/scripted`, true),
	translated("openai-completions", "gpt-4.1", `${control.url.origin}/scripted/v1`, false),
];

// ---- the gateway ---------------------------------------------------------------------------------

/** The credentials of the gateway: one key for each provider except "unknown". */
const storage = {
	getApiKey: async (name: string) => (name === "unknown" ? undefined : "upstream-key"),
	getOAuthAccountIdentity: () => undefined,
	recordObservedUsage: (usage: object) => {
		seen.usage.push(usage);
		tell();
	},
	fetchUsageReports: async () => [
		{
			provider: "fake",
			fetchedAt: Date.now(),
			limits: [
				{
					id: "fake:5h",
					label: "5 Hour",
					scope: { provider: "fake", windowId: "5h" },
					window: { id: "5h", label: "5 Hour", durationMs: 18_000_000 },
					amount: { used: 25, limit: 100, usedFraction: 0.25, unit: "percent" },
					status: "ok",
				},
			],
			metadata: { plan: "test" },
		},
	],
	checkCredentials: async () => [
		{ id: 1, provider: "fake", type: "api_key", ok: true, email: "someone@example.com" },
		{ id: 2, provider: "mock", type: "oauth", ok: false, reason: "the token was revoked" },
		{ id: 3, provider: "openai", type: "api_key", ok: null, reason: "no usage endpoint" },
	],
	markUsageLimitReached: async () => ({ switched: false }),
	invalidateCredentialMatching: async () => {},
};

// The gateway keeps its requests to itself, so its listener is started through this observer: it
// notes peer, headers and body of each request, and changes nothing.
const serve = Bun.serve;
Bun.serve = ((options: any) =>
	serve({
		...options,
		async fetch(request, server) {
			const entry = { path: new URL(request.url).pathname, port: server.requestIP(request)?.port } as any;
			entry.headers = Object.fromEntries(request.headers);
			if (request.method === "POST") entry.body = await request.clone().text();
			seen.gateway.push(entry);
			tell();
			return options.fetch.call(server, request, server);
		},
	})) as typeof Bun.serve;

const gateway = startAuthGateway({
	storage: storage as any,
	bind: "127.0.0.1:0",
	bearerTokens: [token],
	version: "18.2.11",
	resolveModel: (id) => models.find((model) => `${model.provider}/${model.id}` === id) as any,
	listModels: () => models as any,
});

console.log(JSON.stringify({ url: gateway.url, token, control: control.url.origin }));
