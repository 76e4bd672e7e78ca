import { defineTemplate } from '../template.ts';

/** Node-RED's own settings file: without adminAuth anybody could run programs by it. */
const settings = `const { readFileSync } = require('node:fs');
const { hashSync } = require('bcryptjs');
const password = readFileSync('/run/secrets/admin-password', 'utf8').trim();
module.exports = {
  uiPort: 1880,
  flowFile: 'flows.json',
  adminAuth: {
    type: 'credentials',
    users: [{ username: 'admin', password: hashSync(password, 10), permissions: '*' }],
  },
  credentialSecret: readFileSync('/run/secrets/credential-key', 'utf8').trim(),
  diagnostics: { enabled: false, ui: false },
  telemetry: { enabled: false },
};
`;

export const nodeRed = defineTemplate({
  id: 'node-red',
  title: 'Node-RED',
  summary: 'Flows between devices and services, drawn in the browser',
  version: 1,
  login: { user: 'admin', secret: 'admin-password' },
  secrets: ['admin-password', 'credential-key'],
  parts: [
    {
      name: 'node-red',
      image: 'docker.io/nodered/node-red:4.1.0',
      uid: 1000,
      starts_as_uid: true,
      environment: { NODE_RED_ENABLE_SAFE_MODE: 'false' },
      command: ['--settings', '/etc/node-red/settings.js'],
      secrets: [
        { secret: 'admin-password', variable: null },
        { secret: 'credential-key', variable: null },
      ],
      volumes: [{ name: 'data', path: '/data' }],
      files: [{ path: '/etc/node-red/settings.js', content: settings }],
      networks: ['dmz'],
      ports: [{ name: 'web', port: 1880, published: 1880, zones: ['lan', 'vpn'], web: '/' }],
      limits: { memory_mib: 384, cpus: 1, pids: 128 },
      health: { command: ['node', '/healthcheck.js'], start_s: 120 },
    },
  ],
  notes: [
    'The password is read at each start: sudo pi-gateway secret rotate container.node-red.admin-password changes it.',
  ],
});
