import { describe, expect, it } from 'vitest';
import { address } from './api.ts';
import { newest, type Peer, peerOf, recentOf, takePeers, takeSeries, units } from './live.ts';

const peer = (received: number, sent: number): Peer => ({
  public_key: 'key',
  endpoint: '198.51.100.1:40000',
  handshake: new Date(0).toISOString(),
  received_bytes: received,
  sent_bytes: sent,
});

describe("a client's traffic", () => {
  it('is told by second, from the second look on', () => {
    takePeers([peer(1000, 0)], 10_000);
    expect(peerOf('key').value).toMatchObject({ received_rate: 0, received_bytes: 1000 });
    takePeers([peer(5000, 100)], 12_000);
    expect(peerOf('key').value).toMatchObject({ received_rate: 2000, sent_rate: 50 });
  });

  it('is nothing, not negative, where the counters began anew, and after a pause', () => {
    takePeers([peer(10, 200)], 13_000);
    expect(peerOf('key').value).toMatchObject({ received_rate: 0, sent_rate: 100 });
    takePeers([peer(9_000_000, 200)], 60_000);
    expect(peerOf('key').value).toMatchObject({ received_rate: 0 });
  });

  it('ends when the interface no longer has the client', () => {
    takePeers([], 61_000);
    expect(peerOf('key').value).toBeUndefined();
  });
});

describe('measured values', () => {
  it('reach who looks, before and after the first one', () => {
    const early = newest('cpu.used');
    expect(early.value).toBeNull();
    takeSeries([{ name: 'cpu.used', unit: '%', value: 12 }], 1000);
    expect(early.value).toBe(12);
    expect(units.value.get('cpu.used')).toBe('%');
    expect(recentOf('cpu.used').values).toEqual([12]);
  });

  it('of a thousand clients are kept only where a chart asks for them', () => {
    const series = (value: number) =>
      Array.from({ length: 1000 }, (_, index) => ({
        name: `vpn.sent{c${index}}`,
        unit: 'By/s',
        value,
      }));
    takeSeries(series(1), 2000);
    expect(newest('vpn.sent{c7}').value).toBe(1);
    expect(recentOf('vpn.sent{c7}').values).toEqual([]);
    takeSeries(series(2), 3000);
    expect(recentOf('vpn.sent{c7}').values).toEqual([2]);
  });

  it('tell of new names once, not each time', () => {
    const before = units.value;
    takeSeries([{ name: 'cpu.used', unit: '%', value: 13 }], 4000);
    expect(units.value).toBe(before);
  });
});

it('what goes into an address cannot leave its place', () => {
  expect(address('/vpn/clients/{name}', { params: { name: '../../x?y#z' } })).toBe(
    './api/v1/vpn/clients/..%2F..%2Fx%3Fy%23z',
  );
  expect(address('/logs', { query: { unit: 'a&b=c', text: undefined, limit: 5 } })).toBe(
    './api/v1/logs?unit=a%26b%3Dc&limit=5',
  );
});
