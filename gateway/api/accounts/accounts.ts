/** Accounts, sessions and tokens of the API. */
export type Accounts = object;
