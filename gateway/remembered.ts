/**
 * Work whose answer holds for a while: who asks meanwhile gets the same, and those who ask at once share one
 * piece of work. A failure is not kept.
 * @param lifetime in milliseconds.
 */
export function remembered<K extends object, A extends unknown[], T>(
  lifetime: number,
  work: (key: K, ...args: A) => Promise<T>,
): (key: K, ...args: A) => Promise<T> {
  const known = new WeakMap<K, { until: number; answer: Promise<T> }>();
  return (key, ...args) => {
    const there = known.get(key);
    // Not Date.now(): a Pi's clock jumps when it finds the time.
    if (there && performance.now() < there.until) return there.answer;
    const one = { until: Number.POSITIVE_INFINITY, answer: work(key, ...args) };
    known.set(key, one);
    one.answer.then(
      () => {
        one.until = performance.now() + lifetime;
      },
      () => {
        if (known.get(key) === one) known.delete(key);
      },
    );
    return one.answer;
  };
}
