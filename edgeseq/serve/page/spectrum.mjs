// Spectrograms on a canvas: time to the right, frequency upwards, level as colour.

const FLOOR = -100; // dB of full scale, the darkest
const RANGE = 75; // dB to the brightest
const STOPS = [
  [5, 4, 15],
  [48, 24, 104],
  [148, 46, 122],
  [232, 98, 68],
  [252, 182, 72],
  [255, 250, 214],
];

const COLOURS = Uint8Array.from({ length: 256 * 3 }, (_, i) => {
  const at = (Math.floor(i / 3) / 255) * (STOPS.length - 1);
  const low = Math.min(STOPS.length - 2, Math.floor(at));
  const [a, b] = [STOPS[low][i % 3], STOPS[low + 1][i % 3]];
  return a + (b - a) * (at - low);
});

/** Paints one column: `decibels` of the bins from 0 Hz upwards. */
function column(image, x, decibels, bins) {
  const { data, width, height } = image;
  for (let y = 0; y < height; y++) {
    const bin = Math.floor(((height - 1 - y) / height) * bins);
    const level = ((decibels[bin] - FLOOR) / RANGE) * 255;
    const colour = 3 * Math.max(0, Math.min(255, Math.round(level) || 0));
    const at = 4 * (y * width + x);
    for (let k = 0; k < 3; k++) data[at + k] = COLOURS[colour + k];
    data[at + 3] = 255;
  }
}

/** A spectrogram that moves to the left; it shows what an AnalyserNode hears, up to `top` Hz. */
export class Scroll {
  constructor(canvas, analyser, top) {
    this.canvas = canvas;
    this.pen = canvas.getContext('2d');
    this.analyser = analyser;
    this.bins = Math.floor((top / analyser.context.sampleRate) * analyser.fftSize);
    this.decibels = new Float32Array(analyser.frequencyBinCount);
    this.samples = new Float32Array(analyser.fftSize);
    this.image = this.pen.createImageData(1, canvas.height);
    this.pen.clearRect(0, 0, canvas.width, canvas.height);
  }

  /** Adds a column; returns the level in dB of full scale. */
  draw() {
    const { canvas, pen } = this;
    this.analyser.getFloatFrequencyData(this.decibels);
    this.analyser.getFloatTimeDomainData(this.samples);
    column(this.image, 0, this.decibels, this.bins);
    pen.drawImage(canvas, -1, 0);
    pen.putImageData(this.image, canvas.width - 1, 0);
    return level(this.samples);
  }
}

/** Root mean square in dB of full scale. */
export function level(samples) {
  let sum = 0;
  for (const value of samples) sum += value * value;
  return 10 * Math.log10(sum / samples.length);
}

const WINDOW = 512;
const HANN = Float32Array.from({ length: WINDOW }, (_, i) => Math.sin((Math.PI * i) / WINDOW) ** 2);

/** A spectrogram of all samples. */
export function paint(canvas, samples) {
  const pen = canvas.getContext('2d');
  const image = pen.createImageData(canvas.width, canvas.height);
  const [re, im] = [new Float64Array(WINDOW), new Float64Array(WINDOW)];
  const decibels = new Float32Array(WINDOW / 2);
  for (let x = 0; x < canvas.width; x++) {
    const from = Math.round((x / canvas.width) * samples.length) - WINDOW / 2;
    im.fill(0);
    for (let i = 0; i < WINDOW; i++) re[i] = (samples[from + i] ?? 0) * HANN[i];
    transform(re, im);
    for (let k = 0; k < WINDOW / 2; k++) {
      const power = (re[k] ** 2 + im[k] ** 2) / WINDOW ** 2; // as an AnalyserNode has it
      decibels[k] = 10 * Math.log10(power + 1e-20);
    }
    column(image, x, decibels, WINDOW / 2);
  }
  pen.putImageData(image, 0, 0);
}

/** The discrete Fourier transform in place; the length is a power of two. */
export function transform(re, im) {
  const n = re.length;
  for (let i = 1, j = 0; i < n; i++) {
    let bit = n >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j |= bit;
    if (i < j) {
      [re[i], re[j]] = [re[j], re[i]];
      [im[i], im[j]] = [im[j], im[i]];
    }
  }
  for (let half = 1; half < n; half *= 2) {
    for (let k = 0; k < half; k++) {
      const angle = (-Math.PI * k) / half;
      const [c, s] = [Math.cos(angle), Math.sin(angle)];
      for (let a = k; a < n; a += 2 * half) {
        const b = a + half;
        const [x, y] = [re[b] * c - im[b] * s, re[b] * s + im[b] * c];
        [re[b], im[b]] = [re[a] - x, im[a] - y];
        re[a] += x;
        im[a] += y;
      }
    }
  }
}
