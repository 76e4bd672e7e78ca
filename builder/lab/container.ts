import { ask, askArguments, echo, type Question, type Reply, replyOf } from './traffic.ts';

/** A container on the device, as podman networks them: a namespace on a bridge of the containers zone. */
export type Container = {
  /** Its addresses, IPv4 and IPv6. */
  addresses: { v4: string; v6: string };
  send(question: Question): Promise<Reply>;
  remove(): Promise<void>;
};

type Ssh = (command: string, seconds?: number, input?: Uint8Array) => Promise<string>;

const name = 'lab-box';
const server = `${name}-echo`;
const bridge = 'podman9';
const gateway = { v4: '10.89.9.1', v6: 'fd89:6761:7465::1' };
const addresses = { v4: '10.89.9.2', v6: 'fd89:6761:7465::2' };

/** Makes one that answers at the port (TCP and UDP) like the hosts of the lab. */
export async function makeContainer(ssh: Ssh, port: number): Promise<Container> {
  await ssh(
    [
      'set -e',
      `sudo ip link add ${bridge} type bridge`,
      `sudo ip address add ${gateway.v4}/24 dev ${bridge}`,
      `sudo ip address add ${gateway.v6}/64 dev ${bridge} nodad`,
      `sudo ip netns add ${name}`,
      `sudo ip link add ${name} type veth peer name eth0 netns ${name}`,
      `sudo ip link set ${name} master ${bridge} up`,
      `sudo ip link set ${bridge} up`,
      `sudo ip -n ${name} address add ${addresses.v4}/24 dev eth0`,
      `sudo ip -n ${name} address add ${addresses.v6}/64 dev eth0 nodad`,
      `sudo ip -n ${name} link set lo up`,
      `sudo ip -n ${name} link set eth0 up`,
      `sudo ip -n ${name} route add default via ${gateway.v4}`,
      `sudo ip -n ${name} -6 route add default via ${gateway.v6}`,
    ].join('\n'),
  );
  const program = async (file: string, text: string) =>
    await ssh(`cat > /tmp/${file}`, 60, Buffer.from(text));
  await program('lab-echo.mjs', echo);
  await program('lab-ask.mjs', ask);
  const inside = (file: string, args: readonly string[]) =>
    `ip netns exec ${name} node --input-type=module --eval "$(cat /tmp/${file})" -- ${args.map((arg) => `'${arg}'`).join(' ')}`;
  await ssh(
    `sudo systemd-run --quiet --collect --unit=${server} ${inside('lab-echo.mjs', [String(port), ...Object.values(addresses)])}`,
  );
  await ssh(
    `for n in $(seq 60); do [ "$(sudo ip netns exec ${name} ss -Hlun sport = :${port} | wc -l)" = 2 ] && exit 0; sleep 1; done; exit 1`,
    120,
  );
  return {
    addresses,
    send: async (question) =>
      replyOf(await ssh(`sudo ${inside('lab-ask.mjs', askArguments(question))}`, 60)),
    remove: async () => {
      await ssh(
        `sudo systemctl stop ${server}; sudo ip netns delete ${name}; sudo ip link delete ${bridge}; rm /tmp/lab-*.mjs`,
      );
    },
  };
}
