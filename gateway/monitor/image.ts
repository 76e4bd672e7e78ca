import * as z from 'zod';
import type { Files } from './files.ts';

/** What the image was built with, for monitoring: stages/monitoring writes it. */
export const imageFile = '/usr/share/pi-gateway/monitoring.json';

const schema = z.object({
  limits: z.object({
    temperature: z.number(),
    memory: z.number(),
    disk: z.number(),
    wear: z.number(),
  }),
  ports: z.array(
    z.object({ name: z.string(), port: z.number(), protocol: z.enum(['tcp', 'udp']) }),
  ),
});

export type Image = z.output<typeof schema>;

/** An image without the stage `monitoring`. */
const plain: Image = { limits: { temperature: 80, memory: 90, disk: 90, wear: 80 }, ports: [] };

export function readImage(files: Files): Image {
  const text = files.text(imageFile);
  return text === undefined ? plain : schema.parse(JSON.parse(text));
}

/** Name and version of the image, for /metrics. */
export function imageName(files: Files): string {
  const text = files.text('/usr/share/pi-gateway/image.json');
  return /"name": *"([a-z0-9-]+)"/.exec(text ?? '')?.[1] ?? 'unknown';
}
