// Samples of medical images as pixels of a screen: modality rescale and window (DICOM PS3.3, C.11.1 and C.11.2.1). Pure.

const ARRAYS = { u8: Uint8Array, u16: Uint16Array, i16: Int16Array, f32: Float32Array };

/** A frame as the server sends it: the description of its header, and its samples. */
export function readFrame(facts, buffer) {
  const pixels = facts.rows * facts.columns;
  if (facts.kind === 'rgb') {
    if (buffer.byteLength !== 3 * pixels) return null;
    return { ...facts, samples: new Uint8Array(buffer) };
  }
  const Samples = ARRAYS[facts.kind];
  if (!Samples || buffer.byteLength !== pixels * Samples.BYTES_PER_ELEMENT) return null;
  return { ...facts, samples: new Samples(buffer) };
}

/** The window that shows all of a frame's values. */
export function fullWindow({ samples, slope, intercept, kind }) {
  let [least, most] = [Infinity, -Infinity];
  for (const value of samples) {
    if (value < least) least = value;
    if (value > most) most = value;
  }
  if (!(least <= most)) [least, most] = [0, 1];
  const ends = [least * slope + intercept, most * slope + intercept];
  const [low, high] = [Math.min(...ends), Math.max(...ends)];
  if (kind === 'f32') return { center: (low + high) / 2, width: Math.max(high - low, 1e-6) };
  return { center: (low + high + 1) / 2, width: high - low + 1 };
}

/** The brightness of a rescaled value, 0 to 255. */
export function brightness(value, { center, width }, isFloat = false) {
  const share = isFloat ? (value - center) / width + 0.5 : width <= 1 ? (value <= center - 0.5 ? 0 : 1) : (value - (center - 0.5)) / (width - 1) + 0.5;
  return Math.round(255 * Math.min(1, Math.max(0, share)));
}

/** Paints a frame into RGBA pixels, four bytes each. */
export function paint(frame, window, into) {
  const { samples, kind, slope, intercept, is_inverted: isInverted } = frame;
  if (kind === 'rgb') {
    for (let from = 0, to = 0; from < samples.length; from += 3, to += 4) {
      into[to] = samples[from];
      into[to + 1] = samples[from + 1];
      into[to + 2] = samples[from + 2];
      into[to + 3] = 255;
    }
    return;
  }
  const shade = (value) => {
    const bright = brightness(value * slope + intercept, window, kind === 'f32');
    return isInverted ? 255 - bright : bright;
  };
  let table = null;
  if (kind !== 'f32') {
    table = new Uint8Array(65_536);
    const [first, last] = kind === 'i16' ? [-32_768, 32_767] : [0, kind === 'u8' ? 255 : 65_535];
    for (let value = first; value <= last; value += 1) table[value & 0xffff] = shade(value);
  }
  for (let from = 0, to = 0; from < samples.length; from += 1, to += 4) {
    const gray = table ? table[samples[from] & 0xffff] : shade(samples[from]);
    into[to] = gray;
    into[to + 1] = gray;
    into[to + 2] = gray;
    into[to + 3] = 255;
  }
}
