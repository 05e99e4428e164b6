/**
 * Loaded before omp. The newest `@oh-my-pi/pi-natives` on npm whose binary is there, too, is older
 * than omp and lacks names that omp imports and that the gateway never calls: define them.
 */

import { plugin } from "bun";
import * as natives from "./node_modules/@oh-my-pi/pi-natives/native/index.js";

const MISSING = [
	"ShellFsFileType",
	"ShellFsMissing",
	"ShellFsOp",
	"ShellFsResolve",
	"TextPredictor",
	"appleFmAvailability",
	"appleFmCancel",
	"appleFmGenerate",
	"renderMermaidAscii",
];

const missing = (name: string) => () => {
	throw new Error(`${name} is not in this version of pi-natives`);
};

plugin({
	name: "pi-natives",
	setup(build) {
		const absent = Object.fromEntries(MISSING.map((name) => [name, missing(name)]));
		build.module("@oh-my-pi/pi-natives", () => ({ exports: { ...absent, ...natives }, loader: "object" }));
	},
});
