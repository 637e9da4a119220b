# shellcheck shell=bash
# What the scripts beside it share: who builds, how many compilers at once, and the build of one preset.
# Sourced; `root` is the top of the source tree.
: "${root:?}"

# The user to build and run as, when sudo started the script: the one who called sudo. Empty: whoever runs it.
caller() {
  ((EUID == 0)) || return 0
  [[ -n ${SUDO_USER:-} && ${SUDO_UID:-0} != 0 ]] || return 0
  if runuser -u "$SUDO_USER" -- test -w "$root"; then
    printf '%s\n' "$SUDO_USER"
  else
    printf '%s cannot write to %s: building and running as root.\n' "$SUDO_USER" "$root" >&2
  fi
}

# Goes on as the user who called sudo: starts the script again as that user, with its arguments.
becomeCaller() {
  local user home
  user=$(caller)
  [[ -n $user ]] || return 0
  home=$(getent passwd "$user" | cut -d: -f6)
  exec runuser -u "$user" -- env -u SUDO_USER -u SUDO_UID -u SUDO_GID -u SUDO_COMMAND -u XDG_RUNTIME_DIR \
    HOME="$home" USER="$user" LOGNAME="$user" "$root/packaging/${0##*/}" "$@"
}

# Compilers at once: one for each core, and for each GiB of memory that this machine or container has left.
compileJobs() {
  local jobs gib limit file
  jobs=$(nproc)
  gib=$(awk '/^MemAvailable:/ { print int($2 / 1048576) }' /proc/meminfo)
  for file in /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes; do
    limit=$(cat "$file" 2>/dev/null) || continue
    # A number of 16 digits is a petabyte: v1's way to say that there is no limit.
    [[ $limit =~ ^[0-9]{1,15}$ ]] && ((limit >> 30 < gib)) && gib=$((limit >> 30))
  done
  ((gib < jobs)) && jobs=$gib
  printf '%s\n' $((jobs > 0 ? jobs : 1))
}

# The user's name; id prints the number where there is no name for it, as in some containers, and fails.
userName() { id -un 2>/dev/null || true; }

# Ends the script if this user cannot build into that directory.
checkWritable() {
  local place
  for place in "$1" "${1%/*}" "$root"; do
    [[ -e $place ]] || continue
    [[ -w $place ]] && return 0
    printf '%s cannot write to %s, which belongs to %s. Say:\n\n  sudo chown -R %s %q\n' \
      "$(userName)" "$place" "$(stat -c %U "$place")" "$(id -u)" "$place" >&2
    exit 1
  done
}

# buildPreset NAME [CMAKE-OPTION...]: configures and builds into build/NAME.
buildPreset() {
  local preset=$1
  shift
  checkWritable "$root/build/$preset"
  printf '==> Building into %s\n' "$root/build/$preset"
  cmake -S "$root" --preset "$preset" --log-level=WARNING "$@" >/dev/null
  cmake --build "$root/build/$preset" -j "$(compileJobs)"
}
