import { urlSecrets } from './channels/channel.ts';
import type { AlertSettings, ChannelSettings } from './settings.ts';

/** Every secret of the settings, for the texts of alerts: what a check quotes may hold one. */
export function secretsOf({ channels, heartbeat }: AlertSettings): string[] {
  const urls = [heartbeat?.url, heartbeat?.fail_url].filter((url) => url !== undefined);
  return [...channels.flatMap(ofChannel), ...urls.flatMap(urlSecrets)].filter(
    (secret) => secret !== '',
  );
}

function ofChannel(channel: ChannelSettings): string[] {
  switch (channel.type) {
    case 'mail':
      return [channel.password ?? ''];
    case 'webhook':
      return [...urlSecrets(channel.url), channel.secret ?? ''];
    case 'slack':
      return urlSecrets(channel.url);
    case 'ntfy':
      return [channel.topic, channel.token ?? ''];
  }
}
