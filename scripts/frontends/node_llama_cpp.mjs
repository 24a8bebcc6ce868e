// Greedy text from node-llama-cpp, with the binary that it ships: MODEL PROMPT N_TOKENS
import {readFileSync} from "node:fs";
import {createRequire} from "node:module";
import {pathToFileURL} from "node:url";

const require = createRequire(`${process.env.NODE_MODULES}/`);
const entry = require.resolve("node-llama-cpp");
const {getLlama, LlamaCompletion} = await import(pathToFileURL(entry));
const folder = `${process.env.NODE_MODULES}/node_modules/node-llama-cpp`;
const {version} = JSON.parse(readFileSync(`${folder}/package.json`));
const [modelPath, prompt, nTokens] = process.argv.slice(2);
const llama = await getLlama({gpu: false, build: "never", logLevel: "error", maxThreads: 1});
const model = await llama.loadModel({modelPath, gpuLayers: 0});
const context = await model.createContext({contextSize: 256, sequences: 1, threads: 1});
const completion = new LlamaCompletion({contextSequence: context.getSequence()});
const options = {maxTokens: Number(nTokens), temperature: 0};
const text = await completion.generateCompletion(prompt, options);
console.log("RESULT", JSON.stringify({version, text}));
process.exit(0);
