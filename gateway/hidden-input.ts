import { createInterface } from 'node:readline';
import { Writable } from 'node:stream';
import { GatewayError } from './errors.ts';

/** One line of standard input. @param what it is, for the message if there is none. */
export async function readLine(what: string): Promise<string> {
  for await (const line of createInterface({ input: process.stdin })) return line;
  throw new GatewayError(`There is no ${what} on standard input`, 'Pipe one in', 'refused');
}

/** One line from the terminal; nobody sees what is typed. */
export async function readHidden(question: string): Promise<string> {
  process.stderr.write(question);
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() });
  const lines = createInterface({ input: process.stdin, output: nowhere, terminal: true });
  try {
    return await new Promise((resolve, reject) => {
      lines.once('line', resolve);
      lines.once('SIGINT', () => reject(new GatewayError('Nothing was changed', 'Run it again')));
      lines.once('close', () => reject(new GatewayError('Nothing was changed', 'Run it again')));
    });
  } finally {
    lines.close();
    process.stderr.write('\n');
  }
}
