// Run Perfetto's own trace processor (WebAssembly) outside of a browser.
//
//   node trace_processor.js <folder with engine_bundle.js and *.wasm>
//
// Bytes of its remote procedure calls come in on standard input and go out on standard output, as the worker
// of the Perfetto UI takes and gives them through its message port.
"use strict";
const fs = require("fs");
const path = require("path");

const folder = process.argv[2];
const quiet = { log() {}, warn() {}, error() {} };
const worker = { location: { href: "http://localhost/engine_bundle.js" } };
const port = { postMessage: (bytes) => process.stdout.write(Buffer.from(bytes)) };

class FileRequest { // what of XMLHttpRequest the bundle uses to load the module beside it
  open(method, url) {
    this.file = path.join(folder, path.basename(url));
  }
  send() {
    this.response = new Uint8Array(fs.readFileSync(this.file)).buffer;
  }
}

function start() {
  // the bundle asks where it runs: in a worker, not in Node
  const names = ["self", "WorkerGlobalScope", "process", "XMLHttpRequest", "console"];
  const source = fs.readFileSync(path.join(folder, "engine_bundle.js"), "utf8");
  new Function(...names, source)(worker, function () {}, undefined, FileRequest, quiet);
  worker.onmessage({ data: port });
}

function guarded(action) {
  try {
    action();
  } catch (error) {
    process.stderr.write(`trace processor: ${error.message.slice(0, 2000)}\n`);
    process.exit(1);
  }
}

guarded(start);
process.stdin.on("data", (bytes) => guarded(() => port.onmessage({ data: new Uint8Array(bytes) })));
process.stdin.on("end", () => process.exit(0));
