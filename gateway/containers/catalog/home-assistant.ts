import { defineTemplate } from '../template.ts';

export const homeAssistant = defineTemplate({
  id: 'home-assistant',
  title: 'Home Assistant',
  summary: 'Automation of the home, by what it reaches over the network',
  version: 1,
  parts: [
    {
      name: 'home-assistant',
      image: 'ghcr.io/home-assistant/home-assistant:2025.9.4',
      environment: { S6_READ_ONLY_ROOT: '1', PYTHONDONTWRITEBYTECODE: '1' },
      volumes: [{ name: 'config', path: '/config' }],
      tmpfs: [
        { path: '/run', mib: 32 },
        { path: '/tmp', mib: 128 },
      ],
      networks: ['dmz'],
      // The first who opens it makes the owner's account: the vpn alone, until the owner opens it further.
      ports: [{ name: 'web', port: 8123, published: 8123, zones: ['vpn'], web: '/' }],
      limits: { memory_mib: 1_024, cpus: 2, pids: 512 },
      health: {
        command: [
          'python3',
          '-c',
          "import urllib.request as u; u.urlopen('http://127.0.0.1:8123/manifest.json', timeout=5)",
        ],
        start_s: 300,
      },
    },
  ],
  notes: [
    'It has no password to begin with: the first who opens it makes the account of its owner. Open it at once.',
    'Devices of the lan are out of its reach until the firewall allows it: firewall.allow, from containers to lan.',
    'What finds devices by broadcast (mDNS, SSDP, Bluetooth, USB sticks) does not work from a container of its own network.',
  ],
});
