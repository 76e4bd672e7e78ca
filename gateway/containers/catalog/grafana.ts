import { defineTemplate } from '../template.ts';

/** Grafana's own file format for data sources; `$__file{}` reads the token where it is, so no copy of it lies about. */
const dataSources = `apiVersion: 1
datasources:
  - name: Pi Gateway
    type: influxdb
    access: proxy
    url: http://influxdb:8086
    isDefault: true
    editable: false
    jsonData:
      version: Flux
      organization: pi-gateway
      defaultBucket: gateway
    secureJsonData:
      token: $__file{/run/secrets/influxdb-token}
`;

export const grafana = defineTemplate({
  id: 'grafana',
  title: 'Grafana and InfluxDB',
  summary:
    "Charts of the gateway's own metrics, kept for 90 days, and of whatever else is written there",
  version: 1,
  login: { user: 'admin', secret: 'admin-password' },
  secrets: ['admin-password', 'influxdb-password', 'influxdb-token'],
  metrics: {
    port: 'influxdb',
    secret: 'influxdb-token',
    organization: 'pi-gateway',
    bucket: 'gateway',
  },
  parts: [
    {
      name: 'influxdb',
      image: 'docker.io/library/influxdb:2.7.12',
      uid: 1000,
      starts_as_uid: true,
      environment: {
        DOCKER_INFLUXDB_INIT_MODE: 'setup',
        DOCKER_INFLUXDB_INIT_USERNAME: 'admin',
        DOCKER_INFLUXDB_INIT_ORG: 'pi-gateway',
        DOCKER_INFLUXDB_INIT_BUCKET: 'gateway',
        DOCKER_INFLUXDB_INIT_RETENTION: '90d',
        INFLUXD_REPORTING_DISABLED: 'true',
      },
      secrets: [
        { secret: 'influxdb-password', variable: 'DOCKER_INFLUXDB_INIT_PASSWORD_FILE' },
        { secret: 'influxdb-token', variable: 'DOCKER_INFLUXDB_INIT_ADMIN_TOKEN_FILE' },
      ],
      volumes: [
        { name: 'influxdb-data', path: '/var/lib/influxdb2' },
        { name: 'influxdb-settings', path: '/etc/influxdb2' },
      ],
      networks: ['internal', 'management'],
      // The gateway writes its metrics there; no zone reaches it.
      ports: [{ name: 'influxdb', port: 8086, published: 8086 }],
      limits: { memory_mib: 512, cpus: 1, pids: 128 },
      health: { command: ['influx', 'ping'], start_s: 120 },
    },
    {
      name: 'grafana',
      image: 'docker.io/grafana/grafana:12.1.1',
      uid: 472,
      starts_as_uid: true,
      environment: {
        GF_SECURITY_ADMIN_USER: 'admin',
        GF_ANALYTICS_REPORTING_ENABLED: 'false',
        GF_ANALYTICS_CHECK_FOR_UPDATES: 'false',
        GF_ANALYTICS_CHECK_FOR_PLUGIN_UPDATES: 'false',
        GF_NEWS_NEWS_FEED_ENABLED: 'false',
        GF_SECURITY_DISABLE_GRAVATAR: 'true',
        GF_USERS_ALLOW_SIGN_UP: 'false',
        GF_LOG_MODE: 'console',
      },
      secrets: [
        { secret: 'admin-password', variable: 'GF_SECURITY_ADMIN_PASSWORD__FILE' },
        { secret: 'influxdb-token', variable: null },
      ],
      volumes: [{ name: 'data', path: '/var/lib/grafana' }],
      tmpfs: [{ path: '/var/log/grafana', mib: 16 }],
      files: [
        {
          path: '/etc/grafana/provisioning/datasources/pi-gateway.yaml',
          content: dataSources,
        },
      ],
      networks: ['internal', 'management'],
      ports: [{ name: 'web', port: 3000, published: 3000, zones: ['lan', 'vpn'], web: '/' }],
      limits: { memory_mib: 384, cpus: 1, pids: 128 },
      health: {
        command: ['wget', '-q', '-O', '/dev/null', 'http://127.0.0.1:3000/api/health'],
        start_s: 120,
      },
      needs: ['influxdb'],
    },
  ],
  notes: [
    'The password of Grafana is set when it starts for the first time; later it is changed in Grafana itself.',
  ],
});
