/**
 * The user that guests' host processes run as: numbers alone, no account, so nothing else on the host belongs to it and
 * no set-up step is needed. 64042 lies in Debian's range for statically allocated users that packages rarely take
 * (Debian Policy 9.2.2: 60000-64999).
 */
export const GUEST_UID = 64042;
export const GUEST_GID = 64042;
