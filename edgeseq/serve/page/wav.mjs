// Samples -> a WAV file.

/** A Blob of 16-bit samples; `channels` are Float32Arrays of one length. */
export function wav(channels, rate) {
  const length = channels[0].length;
  const block = 2 * channels.length;
  const view = new DataView(new ArrayBuffer(44 + length * block));
  const text = (at, word) => [...word].forEach((c, i) => view.setUint8(at + i, c.charCodeAt(0)));
  text(0, 'RIFF');
  view.setUint32(4, 36 + length * block, true);
  text(8, 'WAVEfmt ');
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true); // PCM
  view.setUint16(22, channels.length, true);
  view.setUint32(24, rate, true);
  view.setUint32(28, rate * block, true);
  view.setUint16(32, block, true);
  view.setUint16(34, 16, true);
  text(36, 'data');
  view.setUint32(40, length * block, true);
  for (let i = 0; i < length; i++) {
    for (let c = 0; c < channels.length; c++) {
      const value = Math.round(Math.max(-1, Math.min(1, channels[c][i])) * 32767);
      view.setInt16(44 + i * block + 2 * c, value, true);
    }
  }
  return new Blob([view], { type: 'audio/wav' });
}
