// Greedy text from node-llama-cpp, with the binary that it ships: MODEL PROMPT N_TOKENS
import {readFileSync} from "node:fs";
import {createRequire} from "node:module";
import {pathToFileURL} from "node:url";

const require = createRequire(`${process.env.NODE_MODULES}/`);
const entry = require.resolve("node-llama-cpp");
const {getLlama} = await import(pathToFileURL(entry));
const folder = `${process.env.NODE_MODULES}/node_modules/node-llama-cpp`;
const {version} = JSON.parse(readFileSync(`${folder}/package.json`));
const [modelPath, prompt, nTokens] = process.argv.slice(2);
const llama = await getLlama({gpu: false, build: "never", logLevel: "error", maxThreads: 1});
const model = await llama.loadModel({modelPath, gpuLayers: 0});
const context = await model.createContext({contextSize: 256, sequences: 1, threads: 1});
const {bos, shouldPrependBosToken} = model.tokens;
const tokens = [...(shouldPrependBosToken ? [bos] : []), ...model.tokenize(prompt)];
const made = [];
// LlamaCompletion penalizes repetition; the tokens of a sequence are the most probable ones.
for await (const token of context.getSequence().evaluate(tokens, {temperature: 0})) {
    if (made.push(token) >= Number(nTokens)) break;
}
const text = model.detokenize(made);
console.log("RESULT", JSON.stringify({version, text}));
process.exit(0);
