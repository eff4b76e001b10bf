// Uses a package as a developer would; prints what it found as JSON.
// node api.mjs PACKAGE ENTRY
import { pathToFileURL } from 'node:url';
import { readFile } from 'node:fs/promises';

const [, , folder, entry] = process.argv;
const { load, parts, Model, ModelError, State, model: about } = await import(
  pathToFileURL(`${folder}/${entry}`)
);
const found = { about, errors: {} };

function refused(name, call) {
  try {
    call();
    found.errors[name] = null;
  } catch (error) {
    found.errors[name] = error instanceof ModelError ? error.message : `not ours: ${error}`;
  }
}

const model = await load({ maxStates: 3, maxSteps: 4 });
const a = model.createState();
a.input('x').set([-1.5, -0.5, 0.5, 1.5]);
a.step();
found.first = [...a.output('y')];
const saved = a.serialize();
const b = a.clone();
a.step();
found.second = [...a.output('y')];
b.input('x').set(a.input('x'));
b.step();
found.cloned = [...b.output('y')];
const c = model.createState(saved);
refused('too many states', () => model.createState());
c.input('x', 4).set([...a.input('x'), ...a.input('x'), ...a.input('x'), ...a.input('x')]);
c.run(4);
found.run = [...c.output('y', 4)];
refused('too many steps', () => c.run(5));
refused('half a step', () => c.run(0.5));
refused('unknown input', () => c.input('z'));
refused('an output as input', () => c.input('y'));
refused('a short state', () => c.restore(saved.subarray(1)));
const damaged = saved.slice();
damaged[0] ^= 1;
refused('a damaged state', () => c.restore(damaged));
const other = saved.slice();
other[16] ^= 1;
refused('a state of another model', () => c.restore(other));
c.run(1);
c.dispose();
c.dispose();
refused('a disposed state', () => c.step());
model.createState();
refused('a state made by hand', () => new State());
a.reset();
a.step();
found.reset = [...a.output('y')];

const { module, weights } = await parts();
found.parts = new Model(module, weights).createState().serialize().length === saved.length;
refused('short weights', () => new Model(module, weights.slice(8)));
const wrong = new Uint8Array(weights).slice();
wrong[5] ^= 255;
refused('other weights', () => new Model(module, wrong));
refused('no states', () => new Model(module, weights, { maxStates: 0 }));
const foreign = await WebAssembly.compile(new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0]));
refused('another module', () => new Model(foreign, weights));
const { compile } = await import(pathToFileURL(`${folder}/core.mjs`));
const code = await readFile(`${folder}/${about.name}.wasm`);
try {
  await compile(code.subarray(0, 100), 'cut.wasm');
} catch (error) {
  found.errors['a truncated module'] = error.message;
}

// an array that does not fit is refused whole, by the language itself
try {
  a.input('x').set([9, 9, 9, 9, 9]);
} catch (error) {
  found.errors['a long array'] = error.name;
}
found.untouched = !a.input('x').includes(9);

const { validate } = WebAssembly;
WebAssembly.validate = () => false;
found.errors['no SIMD'] = await load().then(
  () => null,
  (error) => error.message,
);
WebAssembly.validate = validate;
console.log(JSON.stringify(found));
