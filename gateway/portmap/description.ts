/**
 * What is read of a router's XML. Not a parser of XML: of a text of at most some kilobytes the few elements that
 * are needed are looked for, so that entities, includes and depth, which attacks on parsers live by, mean nothing
 * here. Each search goes forward only: no text costs more than its length.
 */

/** The text of the first element of that name, e.g. `<NewExternalIPAddress>`; undefined if there is none. */
export function elementText(xml: string, name: string): string | undefined {
  const begin = new RegExp(`<${name}(?:\\s[^<>]{0,200})?>`).exec(xml);
  if (!begin) return undefined;
  const from = begin.index + begin[0].length;
  const end = xml.indexOf('</', from);
  return end < 0 ? undefined : unescaped(xml.slice(from, end)).trim();
}

const entities: Readonly<Record<string, string>> = {
  amp: '&',
  lt: '<',
  gt: '>',
  quot: '"',
  apos: "'",
};

/** XML 1.0, 4.6: the five that need no declaration; others stay as they are. */
function unescaped(text: string): string {
  return text.replace(/&(amp|lt|gt|quot|apos);/g, (_, name: string) => entities[name] ?? '');
}

/** Services that map ports (UPnP IGD), the newest first. */
export const mappingServices = [
  'urn:schemas-upnp-org:service:WANIPConnection:2',
  'urn:schemas-upnp-org:service:WANIPConnection:1',
  'urn:schemas-upnp-org:service:WANPPPConnection:1',
] as const;

export type MappingService = { type: (typeof mappingServices)[number]; control: string };

/** More than any router has; a list that is longer is none. */
const mostServices = 64;

/** Services of a device description (UPnP Device Architecture 1.1, 2.3) that map ports, with where they are asked. */
export function readDescription(xml: string): {
  base: string | undefined;
  services: MappingService[];
} {
  const blocks = xml.split('<service>', mostServices + 1).slice(1);
  const found = blocks.flatMap((rest): MappingService[] => {
    const end = rest.indexOf('</service>');
    const block = rest.slice(0, Math.max(end, 0));
    const type = mappingServices.find((one) => one === elementText(block, 'serviceType'));
    const control = elementText(block, 'controlURL');
    return type && control ? [{ type, control }] : [];
  });
  return {
    base: elementText(xml, 'URLBase'),
    services: found.toSorted(
      (a, b) => mappingServices.indexOf(a.type) - mappingServices.indexOf(b.type),
    ),
  };
}
