// DICOM objects for tests, written element by element: explicit VR, little endian (DICOM PS3.5, section 7; PS3.10, section 7).

const EXPLICIT_LITTLE = '1.2.840.10008.1.2.1';
const CT_STORAGE = '1.2.840.10008.5.1.4.1.1.2';
/** VRs whose length has four bytes. */
const LONG = ['OB', 'OW', 'SQ', 'UN', 'UT'];

function element(tag, vr, value) {
  const text = vr === 'UI' ? '\0' : ' ';
  let bytes = Buffer.isBuffer(value) ? value : Buffer.from(String(value), 'latin1');
  if (bytes.length % 2 === 1) bytes = Buffer.concat([bytes, Buffer.from(text)]);
  const head = Buffer.alloc(LONG.includes(vr) ? 12 : 8);
  head.writeUInt16LE(tag >>> 16, 0);
  head.writeUInt16LE(tag & 0xffff, 2);
  head.write(vr, 4, 'latin1');
  if (head.length === 12) head.writeUInt32LE(bytes.length, 8);
  else head.writeUInt16LE(bytes.length, 6);
  return Buffer.concat([head, bytes]);
}

const u16 = (value) => Buffer.from(Uint16Array.of(value).buffer);

/** As it is in the file, and as people read it. */
export const NAME = 'Zwiebelfisch^Kunigunde';
export const TITLE = 'Zwiebelfisch Kunigunde';

/** Three signed frames of 8 × 10, with two windows. */
export const CT = {
  rows: 8, columns: 10, slope: 2, intercept: -1024, id: 'PX-774411', instance: '1.2.826.0.1.3680043.8.498.77.3',
  windows: [{ center: 40, width: 400 }, { center: 600, width: 2800 }],
  frames: [0, 1, 2].map((frame) => Array.from({ length: 80 }, (_, at) => -200 + 29 * at + 7 * frame)),
};

/** An image as a file. */
export function explicitImage({ rows, columns, slope, intercept, id, instance, windows, frames }) {
  const meta = Buffer.concat([element(0x00020002, 'UI', CT_STORAGE), element(0x00020003, 'UI', instance), element(0x00020010, 'UI', EXPLICIT_LITTLE)]);
  const pixels = Buffer.from(Int16Array.from(frames.flat()).buffer);
  const length = Buffer.from(Uint32Array.of(meta.length).buffer);
  return Buffer.concat([
    Buffer.alloc(128), Buffer.from('DICM'), element(0x00020000, 'UL', length), meta,
    element(0x00080016, 'UI', CT_STORAGE), element(0x00080018, 'UI', instance), element(0x00080020, 'DA', '20240301'), element(0x00080060, 'CS', 'CT'),
    element(0x00081030, 'LO', 'Head plain'), element(0x0008103e, 'LO', `Axial ${NAME.split('^')[0]}`),
    element(0x00100010, 'PN', NAME), element(0x00100020, 'LO', id), element(0x00100030, 'DA', '19610412'),
    element(0x0020000d, 'UI', '1.2.826.0.1.3680043.8.498.77.1'), element(0x0020000e, 'UI', '1.2.826.0.1.3680043.8.498.77.2'), element(0x00200011, 'IS', 4), element(0x00200013, 'IS', 1),
    element(0x00280002, 'US', u16(1)), element(0x00280004, 'CS', 'MONOCHROME2'), element(0x00280008, 'IS', frames.length), element(0x00280010, 'US', u16(rows)), element(0x00280011, 'US', u16(columns)),
    element(0x00280100, 'US', u16(16)), element(0x00280101, 'US', u16(16)), element(0x00280102, 'US', u16(15)), element(0x00280103, 'US', u16(1)),
    element(0x00281050, 'DS', windows.map(({ center }) => center).join('\\')), element(0x00281051, 'DS', windows.map(({ width }) => width).join('\\')),
    element(0x00281052, 'DS', intercept), element(0x00281053, 'DS', slope), element(0x00281055, 'LO', 'SOFT\\BONE'), element(0x7fe00010, 'OW', pixels),
  ]);
}
