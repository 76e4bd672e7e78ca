/**
 * Whether a profile of the apparmor package confines a program that this image has. Most are for desktop
 * programs, or only name a program without confining it (flags=(unconfined), for distributions that forbid
 * user namespaces); each costs time at every boot.
 */
export function confines(profile: string, exists: (path: string) => boolean): boolean {
  const heads = profile.matchAll(/^(?:profile\s+[^\s/{]+\s+|profile\s+)?(\/\S+)\s*([^\n]*)\{$/gm);
  return [...heads].some(
    ([, path = '', flags = '']) =>
      !/unconfined|complain/.test(flags) && alternatives(path).some(exists),
  );
}

/** `/{usr/,}bin/x` as its two spellings. */
function alternatives(path: string): string[] {
  const match = /\{([^{}]*)\}/.exec(path);
  if (!match) return [path];
  return (match[1] ?? '').split(',').flatMap((word) => alternatives(path.replace(match[0], word)));
}
