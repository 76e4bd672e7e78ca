import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls, type TLSSocket } from 'node:tls';

/**
 * A VNC viewer for tests: `node viewer-main.ts ADDRESS PORT PASSWORD [SECONDS]`. It says what the server offers,
 * logs in by VeNCrypt with X509Plain, and asks for a picture; then it stays for the seconds.
 */
const [, , address = '', port = '', password = '', seconds = '0'] = process.argv;
const say = (text: string) => process.stdout.write(`${text}\n`);

/** Reads exactly so many bytes, in order. */
function reader(socket: Socket | TLSSocket): (count: number) => Promise<Buffer> {
  let data = Buffer.alloc(0);
  let wake: () => void = () => undefined;
  let ended: Error | undefined;
  socket.on('data', (part: Buffer) => {
    data = Buffer.concat([data, part]);
    wake();
  });
  const end = (why: Error) => {
    ended ??= why;
    wake();
  };
  socket.on('error', end);
  socket.on('close', () => end(new Error('closed')));
  return async (count) => {
    while (data.length < count) {
      if (ended) throw ended;
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
    const taken = data.subarray(0, count);
    data = data.subarray(count);
    return taken;
  };
}

try {
  const socket = connectTcp({ host: address, port: Number(port), timeout: 30_000 });
  socket.on('timeout', () => socket.destroy(new Error('timeout')));
  const read = reader(socket);
  // RFC 6143, 7.1.1 and 7.1.2.
  const version = (await read(12)).toString('latin1').trim();
  socket.write('RFB 003.008\n');
  const [count = 0] = await read(1);
  const types = [...(await read(count))];
  say(`version ${version} types ${types.join(',')}`);
  // VeNCrypt is 19 in IANA's registry of RFB security types.
  if (!types.includes(19)) throw new Error('no VeNCrypt');
  socket.write(Buffer.from([19]));
  await read(2);
  socket.write(Buffer.from([0, 2]));
  await read(1);
  const [kinds = 0] = await read(1);
  const list = await read(kinds * 4);
  const subtypes = Array.from({ length: kinds }, (_, i) => list.readUInt32BE(i * 4));
  say(`subtypes ${subtypes.join(',')}`);
  const x509Plain = Buffer.alloc(4);
  x509Plain.writeUInt32BE(262);
  socket.write(x509Plain);
  const [accepted] = await read(1);
  if (accepted !== 1) throw new Error('X509Plain is not taken');
  socket.removeAllListeners('data');
  const secure = connectTls({ socket, rejectUnauthorized: false });
  await new Promise<void>((resolve, reject) => {
    secure.once('secureConnect', resolve);
    secure.once('error', reject);
  });
  say(`tls ${secure.getProtocol()} ${secure.getPeerCertificate().fingerprint256}`);
  const inside = reader(secure);
  const name = Buffer.from('desktop');
  const secret = Buffer.from(password);
  const lengths = Buffer.alloc(8);
  lengths.writeUInt32BE(name.length, 0);
  lengths.writeUInt32BE(secret.length, 4);
  secure.write(Buffer.concat([lengths, name, secret]));
  const result = (await inside(4)).readUInt32BE(0);
  if (result !== 0) throw new Error('refused');
  secure.write(Buffer.from([1]));
  const init = await inside(24);
  const title = await inside(init.readUInt32BE(20));
  say(`in ${init.readUInt16BE(0)}x${init.readUInt16BE(2)} ${title.toString()}`);
  // RFC 6143, 7.5.3: all of the picture, in raw encoding.
  const request = Buffer.alloc(10);
  request[0] = 3;
  request.writeUInt16BE(64, 6);
  request.writeUInt16BE(64, 8);
  secure.write(request);
  const [kind] = await inside(1);
  say(`picture ${kind === 0 ? 'yes' : kind}`);
  await new Promise((resolve) => setTimeout(resolve, Number(seconds) * 1000));
  process.exit(0);
} catch (error) {
  say(`failed ${error instanceof Error ? error.message : error}`);
  process.exit(1);
}
