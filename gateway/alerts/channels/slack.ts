import { cut, render } from '../message.ts';
import type { ChannelOf } from '../settings.ts';
import { type Channel, guarded } from './channel.ts';
import { exchange, outcomeOf } from './http.ts';

/**
 * Errors of an incoming webhook that sending again does not mend, besides those that its status tells
 * (https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks, Handling errors).
 */
const stops =
  /^(user_not_found|channel_not_found|channel_is_archived|action_prohibited|posting_to_general_channel_denied|no_service|no_service_id|no_team|no_active_hooks|team_disabled|invalid_token|No service)\s*$/;

/** Slack's text is cut at 40,000 characters and asked to be at most 4,000 (chat.postMessage, Truncating content). */
const longestText = 3900;

/** What Slack's mark-up takes for its own: https://docs.slack.dev/messaging/formatting-message-text */
const escaped = (text: string) =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');

/** An incoming webhook of Slack, or of what takes the same. Its URL is the secret. It knows no ids: see docs/alerts.md. */
export function slackChannel(settings: ChannelOf<'slack'>, secrets: readonly string[]): Channel {
  return guarded(secrets, async (message, world) => {
    const { title, text } = render(message, world.host, world.timeZone);
    const body = JSON.stringify({
      text: cut(`*${escaped(title)}*\n${escaped(text)}`, longestText),
      unfurl_links: false,
    });
    const response = await exchange(
      {
        url: settings.url,
        method: 'POST',
        headers: { 'content-type': 'application/json', 'idempotency-key': `"${message.id}"` },
        body,
      },
      settings,
      world,
    );
    return outcomeOf(response, world.now(), stops);
  });
}
