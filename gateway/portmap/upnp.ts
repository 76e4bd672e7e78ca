import { fetchHttps, type HttpResponse, NoAnswerError } from '../ddns/http.ts';
import { elementText, type MappingService, readDescription } from './description.ts';
import { ask, type RouterPath } from './exchange.ts';
import type { Mapped, MapRequest, Refusal } from './packets.ts';

/**
 * Port mapping by UPnP (Internet Gateway Device). The protocol trusts whoever answers; here nobody but the default
 * router may: it is asked directly (UPnP Device Architecture 1.1, 1.3.2, unicast M-SEARCH), not by a shout to all,
 * and an address of any other host in its answers is refused. Redirects are not followed, and an answer is at most
 * 64 KiB long.
 */

/** UPnP Device Architecture, 1.3. */
export const ssdpPort = 1900;

/** Milliseconds for one HTTP exchange with a device in the same network. */
const patience = 5000;

/** UDA 1.1, 1.3.3: an answer may come up to MX seconds late. */
const searchWaits = [1500, 2500, 4000];

const search = Buffer.from(
  [
    'M-SEARCH * HTTP/1.1',
    'HOST: 239.255.255.250:1900',
    'MAN: "ssdp:discover"',
    'MX: 1',
    'ST: urn:schemas-upnp-org:device:InternetGatewayDevice:1',
    '',
    '',
  ].join('\r\n'),
);

/** What the router said, for the owner. */
export class RouterError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'RouterError';
  }
}

/** LOCATION of an answer to a search. */
export function readSearchAnswer(answer: Buffer): string | undefined {
  const text = answer.subarray(0, 2048).toString('latin1');
  if (!text.startsWith('HTTP/1.1 200')) return undefined;
  return /^LOCATION:[ \t]{0,8}(\S{1,500})[ \t]*$/im.exec(text)?.[1];
}

/**
 * An address that the router has named, if it is its own.
 * @throws RouterError if it leads to anybody else, or is none of HTTP.
 */
export function ownUrl(router: string, text: string, base?: string): URL {
  const url = URL.canParse(text, base) ? new URL(text, base) : undefined;
  if (url?.protocol !== 'http:')
    throw new RouterError(`It names no address of HTTP: ${text.slice(0, 80)}`);
  if (url.hostname !== router || url.username !== '' || url.password !== '')
    throw new RouterError(`It sends this device to another one, ${url.hostname}: refused`);
  return url;
}

export type Gateway = { service: MappingService; url: URL };

/**
 * Looks for the router's service.
 * @returns undefined if it has no UPnP.
 * @throws RouterError for what it should not say.
 */
export async function findGateway(path: RouterPath): Promise<Gateway | undefined> {
  const location = await ask(path, search, readSearchAnswer, searchWaits);
  if (location === undefined) return undefined;
  const from = ownUrl(path.router, location);
  const answer = await exchange(path, from, {});
  if (answer.status !== 200)
    throw new RouterError(`Its description is answered with status ${answer.status}`);
  const { base, services } = readDescription(answer.body);
  const [service] = services;
  if (!service) return undefined;
  return {
    service,
    url: ownUrl(
      path.router,
      service.control,
      base === undefined ? from.href : ownUrl(path.router, base).href,
    ),
  };
}

async function exchange(
  path: RouterPath,
  url: URL,
  o: { body?: string; headers?: Record<string, string> },
): Promise<HttpResponse> {
  try {
    return await fetchHttps(
      {
        url: url.href,
        ...(o.body === undefined ? {} : { method: 'POST' as const, body: o.body }),
        headers: { 'user-agent': 'pi-gateway UPnP/1.1', connection: 'close', ...o.headers },
      },
      { timeout: patience, plain: true },
    );
  } catch (error) {
    if (error instanceof NoAnswerError)
      throw new RouterError(error.message.replace(`${path.router}:`, ''));
    throw error;
  }
}

/** UPnP error codes: WANIPConnection:2, 2.5; UPnP Device Architecture 1.1, 3.2.2. */
const errors: Readonly<Record<number, string>> = {
  402: 'it did not understand the request',
  501: 'it could not do it',
  606: 'it does not allow this device to ask: turn UPnP on in the router',
  714: 'it has no such mapping',
  718: 'that port is mapped to another device already',
  725: 'it keeps mappings for good only',
  728: 'it has no room for another mapping',
  729: 'that port is taken by the router itself',
};

/** Calls an action. @returns the answer's XML, or the router's no. @throws RouterError. */
async function call(
  path: RouterPath,
  { service, url }: Gateway,
  action: string,
  args: Readonly<Record<string, string | number>>,
): Promise<{ xml: string } | Refusal> {
  const fields = Object.entries(args).map(([name, value]) => `<${name}>${value}</${name}>`);
  const body = `<?xml version="1.0"?>
<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" s:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/"><s:Body><u:${action} xmlns:u="${service.type}">${fields.join('')}</u:${action}></s:Body></s:Envelope>
`;
  const answer = await exchange(path, url, {
    body,
    headers: {
      'content-type': 'text/xml; charset="utf-8"',
      soapaction: `"${service.type}#${action}"`,
    },
  });
  if (answer.status === 200) return { xml: answer.body };
  const code = Number(elementText(answer.body, 'errorCode'));
  if (!Number.isInteger(code)) throw new RouterError(`It answers with status ${answer.status}`);
  return { refused: errors[code] ?? `it refuses, error ${code}`, code };
}

const place = (externalPort: number) => ({
  NewRemoteHost: '',
  NewExternalPort: externalPort,
  NewProtocol: 'UDP',
});

/** Asks for the port; a router that knows no leases keeps it until it is told otherwise. */
export async function upnpMap(
  path: RouterPath,
  gateway: Gateway,
  o: Pick<MapRequest, 'client' | 'internalPort' | 'externalPort' | 'lifetime'>,
): Promise<Mapped | Refusal> {
  const add = (lifetime: number) =>
    call(path, gateway, 'AddPortMapping', {
      ...place(o.externalPort),
      NewInternalPort: o.internalPort,
      NewInternalClient: o.client,
      NewEnabled: 1,
      NewPortMappingDescription: 'pi-gateway WireGuard',
      NewLeaseDuration: lifetime,
    });
  let lifetime = o.lifetime;
  let answer = await add(lifetime);
  if ('refused' in answer && answer.code === 725) {
    lifetime = 0;
    answer = await add(lifetime);
  }
  if ('refused' in answer) return answer;
  return {
    externalAddress: await upnpAddress(path, gateway),
    externalPort: o.externalPort,
    lifetime,
  };
}

async function upnpAddress(path: RouterPath, gateway: Gateway): Promise<string | undefined> {
  const answer = await call(path, gateway, 'GetExternalIPAddress', {});
  const text = 'xml' in answer ? elementText(answer.xml, 'NewExternalIPAddress') : undefined;
  return text && /^\d{1,3}(\.\d{1,3}){3}$/.test(text) && text !== '0.0.0.0' ? text : undefined;
}

/** Ends the mapping, if it leads to this device: another's is left alone. */
export async function upnpUnmap(
  path: RouterPath,
  gateway: Gateway,
  o: Pick<MapRequest, 'client' | 'externalPort'>,
): Promise<Refusal | undefined> {
  const there = await call(path, gateway, 'GetSpecificPortMappingEntry', place(o.externalPort));
  if ('refused' in there) return there.code === 714 ? undefined : there;
  if (elementText(there.xml, 'NewInternalClient') !== o.client) return undefined;
  const gone = await call(path, gateway, 'DeletePortMapping', place(o.externalPort));
  return 'refused' in gone ? gone : undefined;
}
