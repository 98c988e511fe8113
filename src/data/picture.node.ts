// Picture files: PNG and JPEG, decoded with bounded memory. Not here: resizing.
import { readFile } from 'node:fs/promises';
import jpeg from 'jpeg-js';
import { PNG } from 'pngjs';
import { DataError } from '../errors.js';
import type { Picture } from './preprocess.js';

/** Most pixels a picture may have: 50 million, a large camera's. Checked before anything is unpacked. */
const pixelLimit = 50e6;
/** What the JPEG decoder may allocate, in MB: 50 million pixels of three 16-bit coefficients and their samples. */
const jpegMemoryLimitMB = 1024;

const extensions = /\.(png|jpe?g)$/i;

/** Whether the name is one of a picture file that {@link readPicture} can read. */
export function isPictureName(name: string): boolean {
  return extensions.test(name);
}

/**
 * Decodes a PNG or JPEG file. Alpha is dropped, 16-bit samples are cut to 8.
 * @throws DataError ("no-such-file", "bad-picture") that names the file.
 */
export async function readPicture(path: string): Promise<Picture> {
  return decodePicture(await readFileOrExplain(path), path);
}

/** The whole file, or a DataError ("no-such-file", "unreadable-file") instead of the system's error. */
export async function readFileOrExplain(path: string): Promise<Uint8Array> {
  try {
    return await readFile(path);
  } catch (cause) {
    const missing = (cause as NodeJS.ErrnoException).code === 'ENOENT';
    throw new DataError(missing ? `there is no file ${path}` : `${path} cannot be read: ${(cause as Error).message}`, {
      code: missing ? 'no-such-file' : 'unreadable-file',
      where: path,
      hint: missing ? 'Check the path; relative paths start at the current folder.' : 'Check that it is a file you may read.',
      cause,
    });
  }
}

/** As {@link readPicture}, from bytes; `where` names them in errors. */
export function decodePicture(bytes: Uint8Array, where: string): Picture {
  const isPng = bytes[0] === 0x89 && bytes[1] === 0x50;
  const isJpeg = bytes[0] === 0xff && bytes[1] === 0xd8;
  if (!isPng && !isJpeg) throw badPicture(where, 'it is neither PNG nor JPEG');
  try {
    return isPng ? decodePng(bytes, where) : decodeJpeg(bytes);
  } catch (cause) {
    if (cause instanceof DataError) throw cause;
    throw badPicture(where, (cause as Error).message ?? String(cause), cause);
  }
}

function decodePng(bytes: Uint8Array, where: string): Picture {
  const header = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 33) throw badPicture(where, 'it is cut off');
  const pixels = header.getUint32(16) * header.getUint32(20);
  if (pixels > pixelLimit) throw badPicture(where, `it has ${pixels} pixels, more than ${pixelLimit}`);
  const { width, height, data } = PNG.sync.read(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
  const colourType = bytes[25] as number;
  return strip(data, width, height, (colourType & 2) === 0 ? 1 : 3);
}

function decodeJpeg(bytes: Uint8Array): Picture {
  const decoded = jpeg.decode(bytes, {
    useTArray: true,
    formatAsRGBA: false,
    maxResolutionInMP: pixelLimit / 1e6,
    maxMemoryUsageInMB: jpegMemoryLimitMB,
  });
  return { width: decoded.width, height: decoded.height, channels: 3, pixels: decoded.data };
}

/** Keeps the first `channels` of every four samples. */
function strip(rgba: Uint8Array, width: number, height: number, channels: 1 | 3): Picture {
  const pixels = new Uint8Array(width * height * channels);
  for (let from = 0, to = 0; to < pixels.length; from += 4, to += channels) {
    for (let c = 0; c < channels; c++) pixels[to + c] = rgba[from + c] as number;
  }
  return { width, height, channels, pixels };
}

/**
 * The class of every pixel of a segmentation annotation: a grey 8-bit PNG whose samples are classes.
 * @throws DataError ("bad-annotation") for a coloured or palette picture.
 */
export async function readAnnotation(path: string): Promise<Picture> {
  const picture = await readPicture(path);
  if (picture.channels !== 1) {
    throw new DataError(`${path} is not a grey picture of classes`, {
      code: 'bad-annotation',
      where: path,
      hint: 'Annotations are 8-bit grey PNG files whose samples are class numbers.',
    });
  }
  return picture;
}

function badPicture(where: string, reason: string, cause?: unknown): DataError {
  return new DataError(`${where} is not a picture that can be read: ${reason}`, {
    code: 'bad-picture',
    where,
    hint: 'PNG and JPEG files are read.',
    cause,
  });
}
