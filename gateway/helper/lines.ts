import type { Socket } from 'node:net';
import { longestLine } from './protocol.ts';

const newline = 0x0a;

/**
 * Gives each line of a connection to `take`, without its end. Ends the connection at one that is longer
 * than the protocol's, so that nobody fills the memory.
 */
export function readLines(socket: Socket, take: (line: string) => void): void {
  let parts: Buffer[] = [];
  let size = 0;
  socket.on('data', (chunk: Buffer) => {
    let start = 0;
    for (let end = chunk.indexOf(newline); end >= 0; end = chunk.indexOf(newline, start)) {
      if (size + end - start > longestLine) break;
      const line = Buffer.concat([...parts, chunk.subarray(start, end)]).toString('utf8');
      parts = [];
      size = 0;
      start = end + 1;
      take(line);
    }
    const rest = chunk.subarray(start);
    parts.push(rest);
    size += rest.length;
    if (size > longestLine) socket.destroy();
  });
}
