import type { Answer } from './lib/api.ts';

/** Apps in containers, as a test's gateway has them. */

const digest = `sha256:${'3f'.repeat(32)}`;
const options = { zones: {}, ports: {}, memory_mib: {}, images: {}, environment: {} };

export const containersNow: Answer<'get', '/containers'> = {
  available: true,
  address4: '10.90.0.2',
  address6: 'fd66:6761:7465:90::2',
  apps: [
    {
      app: 'grafana',
      template: 'grafana',
      title: 'Grafana and InfluxDB',
      installed: true,
      state: 'well',
      job: {
        action: 'update',
        state: 'undone',
        message: 'grafana does not become well',
        started_at: '2026-11-02T03:10:00.000Z',
        finished_at: '2026-11-02T03:16:00.000Z',
      },
      parts: ['influxdb', 'grafana'].map((name) => ({
        name,
        state: 'running',
        health: 'healthy' as const,
        since: '2026-11-02T03:16:00.000Z',
        image: { reference: `docker.io/lab/${name}:1.0`, digest },
      })),
      addresses: [
        {
          name: 'web',
          url: 'http://10.90.0.2:3000/',
          text: 'tcp 3000 of the gateway or 10.90.0.2, for lan, vpn',
        },
      ],
      options,
      may_roll_back: true,
      password_untold: true,
      volumes: ['grafana--data'],
      notes: ['The password of Grafana is set when it starts for the first time.'],
    },
  ],
};

export const catalogNow: Answer<'get', '/containers/catalog'> = {
  templates: [
    {
      id: 'node-red',
      title: 'Node-RED',
      summary: 'Flows between devices and services, drawn in the browser',
      parts: [
        {
          name: 'node-red',
          image: 'docker.io/nodered/node-red:4.1.0',
          memory_mib: 384,
          cpus: 1,
          networks: ['dmz'],
          writable_because: null,
        },
      ],
      ports: [{ name: 'web', protocol: 'tcp', port: 1880, zones: ['lan', 'vpn'] }],
      notes: [],
    },
  ],
};
