export type Reference =
  | { kind: 'registry'; host: string; repository: string }
  | { kind: 'layout'; path: string };

/** A repository's name in the OCI distribution spec 1.1. */
const repository = /^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$/;

/** `oci://HOST[:PORT]/REPOSITORY` or `oci-layout:FOLDER`; undefined if it is neither. */
export function parseReference(text: string): Reference | undefined {
  const folder = /^oci-layout:(.+)$/.exec(text)?.[1];
  if (folder) return { kind: 'layout', path: folder };
  const [, host, name] =
    /^oci:\/\/([\w.-]+(?::\d{1,5})?|\[[0-9a-f:]+\](?::\d{1,5})?)\/(.+)$/.exec(text) ?? [];
  if (!host || !name || !repository.test(name)) return undefined;
  return { kind: 'registry', host, repository: name };
}
