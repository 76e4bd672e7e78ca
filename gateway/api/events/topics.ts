/**
 * What can be listened to. `series`, `check` and `alert` come from monitoring; `change` names an area whose
 * state changed, for clients to ask anew; `vpn` is asked of the kernel each second while somebody listens.
 */
export const topics = ['series', 'check', 'alert', 'change', 'vpn'] as const;
export type Topic = (typeof topics)[number];
