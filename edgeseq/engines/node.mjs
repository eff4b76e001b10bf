// node node.mjs PACKAGE LONGEST: requests on standard input, answers on standard output, each
// behind its length in four bytes.
import { existsSync, readdirSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import { setFlagsFromString } from 'node:v8';
import { open, packed, unpacked } from './session.mjs';

const [, , folder, longest] = process.argv;

function send(message) {
  const length = Buffer.alloc(4);
  length.writeUInt32LE(message.length);
  process.stdout.write(Buffer.concat([length, message]));
}

// relaxed-simd stood behind a flag until V8 11.4; where --isa left no other module, it is wanted
const modules = existsSync(folder) ? readdirSync(folder).filter((f) => f.endsWith('.wasm')) : [];
if (modules.length > 0 && modules.every((f) => f.endsWith('.relaxed-simd.wasm'))) {
  setFlagsFromString('--experimental-wasm-relaxed-simd');
}

let session;
try {
  const entry = await import(pathToFileURL(`${folder}/node.mjs`));
  session = await open(entry, Number(longest));
  send(packed({ ok: true }, []));
} catch (error) {
  send(packed({ ok: false, why: String(error.message ?? error) }, []));
  process.exit(0);
}

let held = Buffer.alloc(0);
for await (const chunk of process.stdin) {
  held = Buffer.concat([held, chunk]);
  while (held.length >= 4 && held.length >= 4 + held.readUInt32LE(0)) {
    const message = new Uint8Array(held.subarray(4, 4 + held.readUInt32LE(0)));
    held = held.subarray(4 + message.length);
    const [head, blocks] = unpacked(message);
    send(packed(...session.answer(head, blocks)));
  }
}
