/**
 * Fake Anthropic and OpenAI endpoints that answer by a script: a test puts turns to `PUT /script`, and
 * each request takes the next one. A turn is a list of blocks, and why it ends:
 *
 *   { "thinking": "text", "signature": "…" }   { "text": "…" }
 *   { "id": "…", "name": "…", "json": "the arguments as they are sent" }
 */

import type { UpstreamCall } from "./upstream";

export interface Block {
	thinking?: string;
	signature?: string;
	text?: string;
	id?: string;
	name?: string;
	json?: string;
}

export interface ScriptedTurn {
	blocks: Block[];
	stop: "stop" | "tools" | "length";
}

export const script: ScriptedTurn[] = [];

const pieces = (text: string): string[] => text.match(/.{1,12}/gsu) ?? [];
const sse = (frames: string[]) => new Response(frames.join(""), { headers: { "content-type": "text/event-stream" } });

/** Take the next turn, and keep the request for the test. */
async function next(request: Request, log: UpstreamCall[]): Promise<[any, ScriptedTurn | undefined]> {
	const body: any = await request.json();
	const authorization = request.headers.get("authorization") ?? request.headers.get("x-api-key");
	log.push({ model: body.model, authorization, body, state: "finished", sent: 0 });
	return [body, script.shift()];
}

// ---- Anthropic's /v1/messages -------------------------------------------------------------------

const STOP_REASONS = { stop: "end_turn", tools: "tool_use", length: "max_tokens" };

function deltas(block: Block): [object, object[]] {
	if (block.thinking !== undefined) {
		const thoughts = pieces(block.thinking).map((thinking) => ({ type: "thinking_delta", thinking }));
		const signature = block.signature ? [{ type: "signature_delta", signature: block.signature }] : [];
		return [{ type: "thinking", thinking: "", signature: "" }, [...thoughts, ...signature]];
	}
	if (block.name) {
		const parts = pieces(block.json ?? "").map((partial_json) => ({ type: "input_json_delta", partial_json }));
		return [{ type: "tool_use", id: block.id, name: block.name, input: {} }, parts];
	}
	return [{ type: "text", text: "" }, pieces(block.text ?? "").map((text) => ({ type: "text_delta", text }))];
}

export async function messages(request: Request, log: UpstreamCall[]): Promise<Response> {
	const [body, turn] = await next(request, log);
	if (!turn) {
		const error = { type: "invalid_request_error", message: "the script is at its end" };
		return Response.json({ type: "error", error }, { status: 400 });
	}
	const frames: string[] = [];
	const send = (event: any) => frames.push(`event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`);
	const head = { id: `msg_${log.length}`, type: "message", role: "assistant", model: body.model, content: [] };
	const usage = { input_tokens: 11, output_tokens: 1 };
	send({ type: "message_start", message: { ...head, stop_reason: null, stop_sequence: null, usage } });
	for (const [index, block] of turn.blocks.entries()) {
		const [content_block, parts] = deltas(block);
		send({ type: "content_block_start", index, content_block });
		for (const delta of parts) send({ type: "content_block_delta", index, delta });
		send({ type: "content_block_stop", index });
	}
	const delta = { stop_reason: STOP_REASONS[turn.stop], stop_sequence: null };
	send({ type: "message_delta", delta, usage: { output_tokens: 7 } });
	send({ type: "message_stop" });
	return sse(frames);
}

// ---- OpenAI's /chat/completions -----------------------------------------------------------------

const FINISH_REASONS = { stop: "stop", tools: "tool_calls", length: "length" };

function choices(block: Block, index: number): object[] {
	if (block.thinking !== undefined) return pieces(block.thinking).map((reasoning_content) => ({ reasoning_content }));
	if (!block.name) return pieces(block.text ?? "").map((content) => ({ content }));
	const call = (more: object) => ({ tool_calls: [{ index, ...more }] });
	return [
		call({ id: block.id, type: "function", function: { name: block.name, arguments: "" } }),
		...pieces(block.json ?? "").map((piece) => call({ function: { arguments: piece } })),
	];
}

export async function completions(request: Request, log: UpstreamCall[]): Promise<Response> {
	const [body, turn] = await next(request, log);
	if (!turn) return Response.json({ error: { message: "the script is at its end" } }, { status: 400 });
	const head = { id: "chatcmpl-1", object: "chat.completion.chunk", created: 1_700_000_000, model: body.model };
	const frames: string[] = [];
	const send = (delta: object, finish_reason: string | null = null) =>
		frames.push(`data: ${JSON.stringify({ ...head, choices: [{ index: 0, delta, finish_reason }] })}\n\n`);
	let calls = 0;
	for (const block of turn.blocks) {
		for (const delta of choices(block, calls)) send(delta);
		if (block.name) calls++;
	}
	send({}, FINISH_REASONS[turn.stop]);
	const usage = { prompt_tokens: 11, completion_tokens: 7, total_tokens: 18 };
	frames.push(`data: ${JSON.stringify({ ...head, choices: [], usage })}\n\n`, "data: [DONE]\n\n");
	return sse(frames);
}
