// The microphone through the AudioWorklet of the package, with a spectrogram on either side.
import { Scroll } from './spectrum.mjs';

// What browsers do to a voice by themselves is the model's work here.
const RAW = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
const TAU = 0.02; // s, to fade between what is heard

/** Sound from here on, until stop(). */
export class Live {
  /** `canvases` and `report` get [before, after]; `ended` is called when the microphone goes away. */
  static async start(createNode, rate, canvases, report, ended) {
    if (!navigator.mediaDevices?.getUserMedia) {
      throw new Error('a browser gives its microphone to pages on https:// and http://127.0.0.1 only');
    }
    const stream = await microphone();
    const context = new AudioContext({ latencyHint: 'interactive' });
    try {
      const node = await createNode(context, { sampleRate: rate });
      await context.resume();
      return new Live(context, stream, node, rate, canvases, report, ended);
    } catch (error) {
      for (const track of stream.getTracks()) track.stop();
      await context.close();
      throw error;
    }
  }

  constructor(context, stream, node, rate, canvases, report, ended) {
    this.context = context;
    this.stream = stream;
    this.node = node;
    const source = context.createMediaStreamSource(stream);
    source.connect(node);
    this.gains = [source, node].map((from) => {
      const gain = context.createGain();
      gain.gain.value = 0;
      from.connect(gain).connect(context.destination);
      return gain;
    });
    const top = Math.min(rate, context.sampleRate) / 2;
    this.scrolls = [source, node].map((from, i) => {
      const analyser = context.createAnalyser();
      analyser.fftSize = 1024;
      analyser.smoothingTimeConstant = 0;
      from.connect(analyser);
      return new Scroll(canvases[i], analyser, top);
    });
    stream.getAudioTracks()[0].onended = ended;
    this.#draw(report);
  }

  #draw(report) {
    if (this.context.state === 'closed') return;
    report(this.scrolls.map((scroll) => scroll.draw()));
    requestAnimationFrame(() => this.#draw(report));
  }

  /** 'nothing', 'before' or 'after'. */
  hear(which) {
    const wanted = [which === 'before', which === 'after'];
    this.gains.forEach(({ gain }, i) => {
      gain.setTargetAtTime(wanted[i] ? 1 : 0, this.context.currentTime, TAU);
    });
  }

  async stop() {
    for (const track of this.stream.getTracks()) track.stop();
    if (this.context.state !== 'closed') await this.context.close();
  }
}

const REFUSALS = {
  NotAllowedError: 'the browser was not allowed to use the microphone: allow it beside the address',
  NotFoundError: 'no microphone was found: connect one',
  NotReadableError: 'the microphone cannot be opened: another program may hold it',
};

async function microphone() {
  try {
    return await navigator.mediaDevices.getUserMedia({ audio: { ...RAW, channelCount: 1 } });
  } catch (error) {
    throw new Error(REFUSALS[error.name] ?? error.message);
  }
}
