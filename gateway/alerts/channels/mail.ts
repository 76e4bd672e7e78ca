import { connect, type Socket } from 'node:net';
import SMTPConnection from 'nodemailer/lib/smtp-connection';
import { reasonOf, trusted } from '../../ddns/http.ts';
import { oneLine } from '../../ddns/redact.ts';
import { type Message, plain, type Rendered, render } from '../message.ts';
import type { Outcome } from '../queue.ts';
import type { ChannelOf } from '../settings.ts';
import { type Channel, guarded, type World } from './channel.ts';

/** Milliseconds for one command; RFC 5321 §4.5.3.2 allows a server minutes, which none needs for one short mail. */
const timeouts = { connect: 15_000, greeting: 15_000, silence: 60_000 };

/** RFC 6409 (submission, STARTTLS) and RFC 8314 (implicit TLS). */
const ports = { starttls: 587, implicit: 465 } as const;

/**
 * A mail over SMTP. There is no way without TLS and a certificate that holds: the password and the mail go to
 * who the settings name, or nowhere.
 */
export function mailChannel(settings: ChannelOf<'mail'>, secrets: readonly string[]): Channel {
  const { user, password } = settings;
  // As AUTH PLAIN and LOGIN have them (RFC 4616): a server may quote what it was sent.
  const login = user === undefined || password === undefined ? [] : [`\0${user}\0${password}`];
  return guarded([...secrets, ...login], (message, world) => deliver(settings, message, world));
}

async function deliver(
  settings: ChannelOf<'mail'>,
  message: Message,
  world: World,
): Promise<Outcome> {
  const text = compose(settings, message, render(message, world.host, world.timeZone), world.host);
  let socket: Socket | undefined;
  try {
    socket = await open(settings, world);
    return await session(settings, text, socket, world.signal);
  } catch (error) {
    return failure(settings, error as SmtpError);
  } finally {
    socket?.destroy();
  }
}

function open(settings: ChannelOf<'mail'>, { lookup, signal }: World): Promise<Socket> {
  const { host, tls, port = ports[tls] } = settings;
  return new Promise((resolve, reject) => {
    const socket = connect({
      host,
      port,
      autoSelectFamily: true,
      signal,
      ...(lookup ? { lookup } : {}),
    });
    const late = setTimeout(
      () => socket.destroy(Object.assign(new Error('late'), { code: 'ETIMEDOUT' })),
      timeouts.connect,
    );
    socket.once('error', (error) => {
      clearTimeout(late);
      reject(error);
    });
    socket.once('connect', () => {
      clearTimeout(late);
      resolve(socket);
    });
  });
}

/** From the greeting to the server's OK. */
function session(
  settings: ChannelOf<'mail'>,
  text: string,
  socket: Socket,
  signal: AbortSignal,
): Promise<Outcome> {
  const { host, tls, user, password, from, to, ca } = settings;
  return new Promise((resolve, reject) => {
    const connection = new SMTPConnection({
      host,
      connection: socket,
      secure: tls === 'implicit',
      requireTLS: true,
      tls: { ca: trusted(ca), rejectUnauthorized: true, minVersion: 'TLSv1.2' },
      connectionTimeout: timeouts.connect,
      greetingTimeout: timeouts.greeting,
      socketTimeout: timeouts.silence,
      maxResponseSize: 65_536,
    });
    const fail = (error: unknown) => {
      reject(error);
      connection.close();
    };
    connection.on('error', fail);
    connection.once('end', () => reject(new Error('the connection broke off')));
    signal.addEventListener('abort', () => fail(new Error('it was given up')), { once: true });
    const send = () =>
      connection.send({ from, to, size: Buffer.byteLength(text) }, text, (error, info) => {
        if (error) return fail(error);
        const refused = info?.rejected.length ?? 0;
        const some = refused > 0 ? `; ${refused} of ${to.length} recipients were refused` : '';
        resolve({ kind: 'delivered', answer: `${oneLine(info?.response ?? '')}${some}` });
        connection.quit();
      });
    connection.connect((error) => {
      if (error) return fail(error);
      if (!connection.secure) return fail(new Error('there is no TLS'));
      if (user === undefined || password === undefined) return send();
      connection.login({ user, pass: password }, (refused) => (refused ? fail(refused) : send()));
    });
  });
}

/** As nodemailer gives them. */
type SmtpError = Error & {
  code?: string;
  originalCode?: string;
  response?: string;
  responseCode?: number;
  command?: string;
};

/** What an error means, by the step that it came at and the reply (RFC 5321 §4.2.1, RFC 4954 §6). */
function failure({ host, from }: ChannelOf<'mail'>, error: SmtpError): Outcome {
  const { responseCode, response = '', command = '', code = '', originalCode } = error;
  const said = `${host} answered ${oneLine(response.slice(0, 1000))}`;
  if (responseCode === undefined || responseCode === 0) {
    if (code === 'EAUTH')
      return { kind: 'stopped', reason: `${host}: it offers no way to log in that is known here` };
    const reason = reasonOf({ code: originalCode ?? code });
    const own = error.message === 'it was given up' || error.message === 'there is no TLS';
    return { kind: 'retry', reason: `${host}: ${own ? error.message : reason}` };
  }
  // 454: RFC 4954's temporary failure of a log-in; STARTTLS refused or unknown is 454, 501, 502 or 5xx.
  if (code === 'ETLS')
    return {
      kind: responseCode < 500 ? 'retry' : 'stopped',
      reason: `${said}: it does not do STARTTLS here (port 465 with tls: implicit may be right)`,
    };
  if (responseCode < 500) return { kind: 'retry', reason: said };
  if (code === 'EAUTH') return { kind: 'stopped', reason: `${said}: user or password is wrong` };
  if (command === 'MAIL FROM' || command === 'RCPT TO')
    return { kind: 'stopped', reason: `${said}: it takes nothing from ${from}, or for whom it is` };
  if (command === 'DATA') return { kind: 'refused', reason: said };
  return { kind: 'stopped', reason: said };
}

/** RFC 2045: lines of at most 76 characters. */
const wrapped = (text: string) => (text.match(/.{1,76}/g) ?? []).join('\r\n');

/**
 * The mail. Nothing of an alert's text goes into a header as it is: the subject is encoded (RFC 2047), so that
 * no text can begin a header of its own.
 */
export function compose(
  { from, to }: Pick<ChannelOf<'mail'>, 'from' | 'to'>,
  message: Message,
  { title, text, severity, over }: Rendered,
  host: string,
): string {
  const domain = from.slice(from.lastIndexOf('@') + 1);
  const alerts = [...new Set(message.events.map((event) => event.alert))];
  // Not sent itself: mails of one alert with the same reference are one conversation.
  const thread = alerts.length === 1 ? [`References: <${alerts[0]}@${domain}>`] : [];
  const urgent = severity === 'critical' && !over ? ['Importance: high', 'X-Priority: 1'] : [];
  return [
    `From: "${host.replace(/[^A-Za-z0-9.-]/g, '').slice(0, 63)}"\r\n <${from}>`,
    `To: ${to.map((one) => `<${one}>`).join(',\r\n ')}`,
    `Subject: ${encodedWords(title)}`,
    `Date: ${new Date(message.at).toUTCString().replace('GMT', '+0000')}`,
    `Message-ID: <${message.id}@${domain}>`,
    ...thread,
    ...urgent,
    // RFC 3834 §5: no answering machine answers.
    'Auto-Submitted: auto-generated',
    'MIME-Version: 1.0',
    'Content-Type: text/plain; charset=utf-8',
    'Content-Transfer-Encoding: base64',
    '',
    wrapped(Buffer.from(text.replaceAll('\n', '\r\n')).toString('base64')),
    '',
  ].join('\r\n');
}

/** RFC 2047: short words of whole characters, on lines of their own. */
export function encodedWords(text: string): string {
  const words: string[] = [];
  let word = '';
  for (const character of plain(text)) {
    // A line with such a word has at most 76 characters; `Subject: ` are 9, =?utf-8?B?…?= 12, and base64 makes 52 of 39.
    if (Buffer.byteLength(word + character) > 39) {
      words.push(word);
      word = '';
    }
    word += character;
  }
  words.push(word);
  return words.map((one) => `=?utf-8?B?${Buffer.from(one).toString('base64')}?=`).join('\r\n ');
}
