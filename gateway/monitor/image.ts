import * as z from 'zod';
import { portsFile } from '../services/units.ts';
import type { Files } from './files.ts';

/** Limits that the image was built with: stages/monitoring writes it. */
export const limitsFile = '/usr/share/pi-gateway/monitoring.json';

const limits = z.object({
  temperature: z.number(),
  memory: z.number(),
  disk: z.number(),
  wear: z.number(),
});

const ports = z.array(
  z.object({ name: z.string(), port: z.number(), protocol: z.enum(['tcp', 'udp']) }),
);

export type Image = { limits: z.output<typeof limits>; ports: z.output<typeof ports> };

/** An image without the stage `monitoring` has no limits of its own. */
const usual: Image['limits'] = { temperature: 80, memory: 90, disk: 90, wear: 80 };

export function readImage(files: Files): Image {
  return {
    limits: read(files, limitsFile, limits) ?? usual,
    ports: read(files, portsFile, ports) ?? [],
  };
}

function read<T>(files: Files, path: string, schema: z.ZodType<T>): T | undefined {
  const text = files.text(path);
  return text === undefined ? undefined : schema.parse(JSON.parse(text));
}

/** Name of the image, for /metrics. */
export function imageName(files: Files): string {
  const text = files.text('/usr/share/pi-gateway/image.json');
  return /"name": *"([a-z0-9-]+)"/.exec(text ?? '')?.[1] ?? 'unknown';
}
