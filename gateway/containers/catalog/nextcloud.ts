import { defineTemplate } from '../template.ts';

export const nextcloud = defineTemplate({
  id: 'nextcloud',
  title: 'Nextcloud',
  summary: 'Files, calendars and contacts, with a PostgreSQL of their own',
  version: 1,
  login: { user: 'admin', secret: 'admin-password' },
  secrets: ['admin-password', 'database-password'],
  parts: [
    {
      name: 'database',
      image: 'docker.io/library/postgres:17.6-alpine',
      uid: 70,
      starts_as_uid: true,
      environment: { POSTGRES_USER: 'nextcloud', POSTGRES_DB: 'nextcloud' },
      secrets: [{ secret: 'database-password', variable: 'POSTGRES_PASSWORD_FILE' }],
      volumes: [{ name: 'database', path: '/var/lib/postgresql/data' }],
      tmpfs: [{ path: '/var/run/postgresql', mib: 8 }],
      networks: ['internal'],
      limits: { memory_mib: 384, cpus: 1, pids: 128 },
      health: { command: ['pg_isready', '-U', 'nextcloud', '-d', 'nextcloud'], start_s: 120 },
    },
    {
      name: 'nextcloud',
      image: 'docker.io/library/nextcloud:31.0.9-apache',
      uid: 33,
      environment: {
        POSTGRES_HOST: 'database',
        POSTGRES_USER: 'nextcloud',
        POSTGRES_DB: 'nextcloud',
        NEXTCLOUD_ADMIN_USER: 'admin',
        PHP_MEMORY_LIMIT: '512M',
      },
      secrets: [
        { secret: 'admin-password', variable: 'NEXTCLOUD_ADMIN_PASSWORD_FILE' },
        { secret: 'database-password', variable: 'POSTGRES_PASSWORD_FILE' },
      ],
      volumes: [{ name: 'html', path: '/var/www/html' }],
      networks: ['internal', 'dmz'],
      ports: [{ name: 'web', port: 80, published: 8081, zones: ['lan', 'vpn'], web: '/' }],
      limits: { memory_mib: 768, cpus: 2, pids: 256 },
      capabilities: [
        'CHOWN',
        'DAC_OVERRIDE',
        'FOWNER',
        'KILL',
        'NET_BIND_SERVICE',
        'SETGID',
        'SETUID',
      ],
      writable_because:
        "its start-up writes PHP's and Apache's settings below /usr/local/etc and /etc",
      health: {
        command: ['curl', '-fsS', '-o', '/dev/null', 'http://127.0.0.1/status.php'],
        start_s: 600,
      },
      needs: ['database'],
    },
  ],
  notes: [
    'The password is set when it starts for the first time; later it is changed in Nextcloud itself.',
    'Names under which it may be opened: NEXTCLOUD_TRUSTED_DOMAINS, by container install --env.',
  ],
});
