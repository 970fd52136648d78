// Chinese for every text of the window; a test finds those that are missing.

export const zh = {
};
