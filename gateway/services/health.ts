/** As the original's service-status: 0 all is well, 1 a warning, 2 something has failed. */
export function exitCodeOf(states: readonly string[]): 0 | 1 | 2 {
  if (states.includes('failed')) return 2;
  return states.includes('warning') ? 1 : 0;
}
