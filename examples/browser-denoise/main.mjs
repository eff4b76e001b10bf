// microphone -> denoiser (an AudioWorklet) -> loudspeaker
import { createNode } from 'denoise/worklet';

const $ = (id) => document.getElementById(id);
const MODEL_RATE = 16000; // what the model was trained at; the node resamples from the context's

async function start() {
  // the browser's own filters off: this is the model's work
  const audio = { noiseSuppression: false, echoCancellation: false, autoGainControl: false };
  const stream = await navigator.mediaDevices.getUserMedia({ audio });
  const context = new AudioContext();
  const microphone = context.createMediaStreamSource(stream);
  const denoiser = await createNode(context, { sampleRate: MODEL_RATE });
  const [raw, clean, volume] = [context.createGain(), context.createGain(), context.createGain()];
  microphone.connect(raw).connect(volume);
  microphone.connect(denoiser).connect(clean).connect(volume);
  volume.connect(context.destination);

  const mix = () => {
    raw.gain.value = $('denoise').checked ? 0 : 1;
    clean.gain.value = $('denoise').checked ? 1 : 0;
    volume.gain.value = $('volume').value;
  };
  $('denoise').addEventListener('change', mix);
  $('volume').addEventListener('input', mix);
  mix();
  meter(context, microphone, $('before'));
  meter(context, denoiser, $('after'));
  await context.resume();
  $('status').textContent = `From ${context.sampleRate} Hz to ${MODEL_RATE} Hz and back.`;
}

function meter(context, node, element) {
  const analyser = context.createAnalyser();
  const samples = new Float32Array(analyser.fftSize);
  node.connect(analyser);
  setInterval(() => {
    analyser.getFloatTimeDomainData(samples);
    const power = samples.reduce((sum, value) => sum + value * value, 0) / samples.length;
    element.value = 10 * Math.log10(power + 1e-8);
  }, 100);
}

$('start').addEventListener('click', async () => {
  $('start').disabled = true;
  try {
    await start();
  } catch (error) {
    $('status').textContent = `Cannot start: ${error.message}`;
    $('start').disabled = false;
  }
});
