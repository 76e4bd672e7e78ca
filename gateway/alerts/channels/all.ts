import type { ChannelSettings } from '../settings.ts';
import type { Channel } from './channel.ts';
import { mailChannel } from './mail.ts';
import { ntfyChannel } from './ntfy.ts';
import { slackChannel } from './slack.ts';
import { webhookChannel } from './webhook.ts';

/** @param secrets All of the settings: a server may know more than its own. */
export function channelOf(settings: ChannelSettings, secrets: readonly string[]): Channel {
  switch (settings.type) {
    case 'mail':
      return mailChannel(settings, secrets);
    case 'webhook':
      return webhookChannel(settings, secrets);
    case 'slack':
      return slackChannel(settings, secrets);
    case 'ntfy':
      return ntfyChannel(settings, secrets);
  }
}
