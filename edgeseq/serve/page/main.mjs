// The page: what is shown when, and what the buttons do.
import { decoded, filtered } from './file.mjs';
import { Live } from './live.mjs';
import { check } from './numbers.mjs';
import { paint } from './spectrum.mjs';
import { measure } from './speed.mjs';
import { wav } from './wav.mjs';

const $ = (id) => document.getElementById(id);

const bytesText = (n) => (n < 1e6 ? `${(n / 1e3).toFixed(n < 1e5 ? 1 : 0)} kB` : `${(n / 1e6).toFixed(2)} MB`);
const timeText = (us) => (us < 1000 ? `${us.toFixed(1)} µs` : `${(us / 1000).toFixed(2)} ms`);
const decibels = (level) => (level > -120 ? `${level.toFixed(0).replace('-', '−')} dB` : 'silent');
const sizeText = (n) => (n === 0 ? '0' : Number.isFinite(n) ? n.toExponential(1) : '∞');

function cells(row, ...texts) {
  for (const [text, kind] of texts) {
    const cell = document.createElement(kind === 'th' ? 'th' : 'td');
    if (kind === 'th') cell.scope = 'row';
    else if (kind) cell.className = kind;
    cell.textContent = text;
    row.append(cell);
  }
  return row;
}

function problem(error) {
  $('problem').textContent = error.message ?? String(error);
  $('problem').hidden = false;
}

async function fetched(name) {
  const response = await fetch(`./${name}`);
  if (!response.ok) throw new Error(`${name}: the server said ${response.status}`);
  return response;
}

async function opened() {
  const about = await (await fetched('about.json')).json();
  describe(about);
  if (typeof WebAssembly !== 'object') {
    throw new Error('this browser has no WebAssembly, or it is switched off (lockdown mode does that)');
  }
  const [index, core] = await Promise.all([import('./package/index.mjs'), import('./package/core.mjs')]);
  const entry = { load: index.load, level: core.level };
  await entry.load({ maxStates: 1 }); // what is wrong with the files or the browser shows here
  const bytes = await (await fetched('vectors.bin')).arrayBuffer();
  return { about, entry, bytes };
}

function describe(about) {
  document.title = `${about.name} · edgeseq`;
  $('name').textContent = about.name;
  $('facts').textContent =
    `${bytesText(about.weight_bytes)} of weights, ${bytesText(about.state_bytes)} of state for each stream` +
    (about.step ? '' : `; whole sequences only: ${about.step_reason}`);
  for (const [title, list] of [['takes', about.inputs], ['gives', about.outputs]]) {
    const dt = document.createElement('dt');
    const dd = document.createElement('dd');
    dt.textContent = title;
    const code = document.createElement('code');
    code.textContent = list.map((t) => `${t.name} ${t.dtype}[${t.declared.join(', ')}]`).join('  ');
    dd.append(code);
    $('interface').append(dt, dd);
  }
  $('footer').textContent =
    `edgeseq ${about.edgeseq}, from ${about.source}, model ${about.hash.slice(0, 16)}`;
}

async function validate({ about, entry, bytes }) {
  $('validate').disabled = true;
  $('verdict').textContent = '';
  $('findings').replaceChildren();
  let all = true;
  let count = 0;
  try {
    for await (const { name, check: what, error, allowed, ok } of check(entry, about, bytes)) {
      all &&= ok;
      count += 1;
      const mark = ok ? ['ok', 'good'] : ['FAIL', 'bad'];
      const row = document.createElement('tr');
      cells(row, [name, 'th'], [what], [sizeText(error), 'number'], [sizeText(allowed), 'number'], mark);
      $('findings').append(row);
      await new Promise((resolve) => setTimeout(resolve));
    }
    $('verdict').textContent = all ? `all ${count} passed` : 'failed';
  } catch (error) {
    all = false;
    $('verdict').textContent = error.message;
  }
  $('verdict').className = `badge ${all ? 'good' : 'bad'}`;
  $('validate').disabled = false;
}

async function time({ about, entry, bytes }) {
  const note = $('speed-note');
  $('measure').disabled = true;
  try {
    const done = await measure(entry, about, bytes, (share) => {
      note.textContent = `measuring: ${Math.min(100, Math.round(share * 100))}%`;
    });
    $('sides').replaceChildren(
      ...done.sides.map(({ name, p50, p99, start, bytes: size }) => {
        const row = document.createElement('tr');
        const number = (text) => [text, 'number'];
        return cells(row, [name, 'th'], ...[timeText(p50), timeText(p99), `${start.toFixed(0)} ms`, bytesText(size)].map(number));
      }),
    );
    $('times').hidden = false;
    const what = about.step ? 'A step' : `A sequence of ${about.steps} steps`;
    const samples = done.sides.map(({ count, calls }) => (calls > 1 ? `${count} × ${calls}` : count));
    const beside = about.peer ? ` and of onnxruntime-web ${about.peer.version}` : '';
    note.textContent =
      `${what}, input copied in, one thread. Calls of edgeseq${beside}: ` +
      `${samples.join(', ')}; the clock ticks every ${done.tick.toFixed(0)} µs.`;
    $('speed-sum').textContent = sum(about, done);
  } catch (error) {
    note.textContent = `cannot measure: ${error.message}`;
  }
  $('measure').disabled = false;
}

function sum(about, { sides, ratio, difference }) {
  const parts = [];
  if (ratio !== null) {
    parts.push(
      difference < 1e-3
        ? `edgeseq is ${ratio.toFixed(1)}× as fast; the outputs differ by ${sizeText(difference)} of the largest.`
        : `The outputs differ by ${sizeText(difference)} of the largest: these are not the same model.`,
    );
  }
  if (about.audio) {
    const frame = frameSize(about) / Number($('rate').value);
    const times = (frame * 1e6) / sides[0].p50;
    parts.push(`A frame is ${(frame * 1000).toFixed(1)} ms of sound: ${times.toFixed(0)}× real time.`);
  }
  return parts.join(' ');
}

const frameSize = (about) => about.inputs[0].declared.reduce((a, b) => a * b, 1);

async function sound({ about, entry }) {
  const { createNode } = await import('./package/worklet.mjs');
  $('sound').hidden = false;
  const rate = $('rate');
  const known = [...rate.options].some((option) => option.value === String(about.sample_rate));
  if (!known) rate.add(new Option(`${about.sample_rate} Hz`, about.sample_rate));
  rate.value = String(about.sample_rate);
  live(createNode);
  recording(entry, about);
}

function live(createNode) {
  const [start, note] = [$('start'), $('live-note')];
  let now = null;
  const show = (running) => {
    start.textContent = running ? 'Stop the microphone' : 'Start the microphone';
    start.setAttribute('aria-pressed', String(running));
  };
  const hear = () => now?.hear($('bypass').checked ? 'before' : $('hear').checked ? 'after' : 'nothing');
  const stop = async (why) => {
    const was = now;
    now = null;
    await was?.stop();
    show(false);
    note.textContent = why;
  };
  const report = (levels) => {
    $('level-before').textContent = decibels(levels[0]);
    $('level-after').textContent = decibels(levels[1]);
  };
  start.addEventListener('click', async () => {
    if (now) return stop('Stopped.');
    start.disabled = true;
    try {
      const rate = Number($('rate').value);
      const ended = () => stop('The microphone went away.');
      const canvases = [$('live-before'), $('live-after')];
      now = await Live.start(createNode, rate, canvases, report, ended);
      show(true);
      hear();
      note.textContent = `Live: the microphone at ${now.context.sampleRate} Hz, the model at ${rate} Hz.`;
    } catch (error) {
      note.textContent = `Cannot start: ${error.message}`;
    }
    start.disabled = false;
  });
  $('hear').addEventListener('change', hear);
  $('bypass').addEventListener('change', hear);
  $('rate').addEventListener('change', () => now && stop('The rate is another: start again.'));
}

function recording(entry, about) {
  const [drop, input, note] = [$('drop'), $('file'), $('file-note')];
  let urls = [];
  const use = async (file) => {
    input.disabled = true;
    try {
      note.textContent = `reading '${file.name}'`;
      const before = await decoded(file, Number($('rate').value));
      const after = await filtered(entry, about, before.channels, (share) => {
        note.textContent = `'${file.name}': ${Math.round(share * 100)}%`;
      });
      urls.forEach((url) => URL.revokeObjectURL(url));
      urls = [before.channels, after.channels].map((channels) =>
        URL.createObjectURL(wav(channels, before.rate)),
      );
      paint($('file-before'), before.channels[0]);
      paint($('file-after'), after.channels[0]);
      [$('play-before').src, $('play-after').src] = urls;
      $('download').href = urls[1];
      $('download').download = `${file.name.replace(/\.[^.]*$/, '')}-${about.name}.wav`;
      $('result').hidden = false;
      const seconds = before.channels[0].length / before.rate;
      note.textContent =
        `'${file.name}': ${seconds.toFixed(1)} s of sound in ${after.seconds.toFixed(2)} s, ` +
        `${before.channels.length === 1 ? 'one channel' : `${before.channels.length} channels`} at ${before.rate} Hz`;
    } catch (error) {
      note.textContent = error.message;
    }
    input.disabled = false;
    input.value = '';
  };
  input.addEventListener('change', () => input.files[0] && use(input.files[0]));
  // The whole page takes files: one dropped beside the frame must not replace the page.
  addEventListener('dragover', (event) => {
    event.preventDefault();
    drop.classList.add('over');
  });
  addEventListener('dragleave', () => drop.classList.remove('over'));
  addEventListener('drop', (event) => {
    event.preventDefault();
    drop.classList.remove('over');
    const [file] = event.dataTransfer.files;
    if (file && !input.disabled) use(file);
  });
}

try {
  const all = await opened();
  $('sections').hidden = false;
  $('validate').addEventListener('click', () => validate(all));
  $('measure').addEventListener('click', () => time(all));
  if (all.about.audio) await sound(all);
  if (all.about.peer) $('speed-note').textContent = `Beside onnxruntime-web ${all.about.peer.version}, in turns.`;
  $('oracle').textContent = `Recorded when it was compiled: ${all.about.steps} steps, ${all.about.oracle}.`;
  await validate(all);
} catch (error) {
  problem(error);
}
document.body.dataset.ready = 'yes';
