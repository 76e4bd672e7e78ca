import type { Topic } from './events/topics.ts';

/** What of one HTTP exchange an operation may see and do. */
export type Exchange = {
  /** The session that the request came with; undefined: none, or a token. */
  session: { id: string; account: string } | undefined;
  /** What changes of that session must carry. */
  csrf: string | undefined;
  /** User-Agent. */
  client: string;
  /** Gives the browser a session's secret, or takes it away. */
  setSession(secret: string | undefined): void;
  /** Answers with events until either side ends it. */
  stream(topics: readonly Topic[]): Promise<void>;
  /** The OpenAPI document of all operations that the server has. */
  document(): Promise<Record<string, unknown>>;
};
