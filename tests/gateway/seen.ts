/** What the gateway and the fake provider behind it have seen, and how a test waits for more. */

import type { UpstreamCall } from "./upstream";

export const seen = { gateway: [] as object[], upstream: [] as UpstreamCall[], usage: [] as object[] };

let version = 0;
let news = Promise.withResolvers<void>();

/** Announce a change: the waiting requests look again. */
export function tell(): void {
	version++;
	news.resolve();
	news = Promise.withResolvers<void>();
}

/** Everything, as soon as it is another than it was at that version. */
export async function otherThan(known: number): Promise<object> {
	if (version === known) await news.promise;
	return { version, ...seen };
}
