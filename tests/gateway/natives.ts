/**
 * Loaded before server.ts. The newest `@oh-my-pi/pi-natives` on npm whose binary is there, too, is
 * older than the gateway and lacks names that the gateway imports and never calls: define them.
 */

import { plugin } from "bun";
import * as natives from "./node_modules/@oh-my-pi/pi-natives/native/index.js";

const missing = (name: string) => () => {
	throw new Error(`${name} is not in this version of pi-natives`);
};

plugin({
	name: "pi-natives",
	setup(build) {
		build.module("@oh-my-pi/pi-natives", () => ({
			exports: { renderMermaidAscii: missing("renderMermaidAscii"), ...natives },
			loader: "object",
		}));
	},
});
