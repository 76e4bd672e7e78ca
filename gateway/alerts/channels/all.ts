import type { ChannelSettings } from '../settings.ts';
import type { Channel } from './channel.ts';
import { mailChannel } from './mail.ts';
import { ntfyChannel } from './ntfy.ts';
import { slackChannel } from './slack.ts';
import { webhookChannel } from './webhook.ts';

export function channelOf(settings: ChannelSettings): Channel {
  switch (settings.type) {
    case 'mail':
      return mailChannel(settings);
    case 'webhook':
      return webhookChannel(settings);
    case 'slack':
      return slackChannel(settings);
    case 'ntfy':
      return ntfyChannel(settings);
  }
}
