/** What is asked of DNS to see whether it answers: a name that is there for as long as there is Debian. */
export const knownName = 'debian.org';
