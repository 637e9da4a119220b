# shellcheck shell=bash disable=SC2034
# The one list of the Debian packages that baton needs, and their installation. Sourced by the scripts beside
# it and by .ci/run. docs/architecture.md says why each is here.

# To build and to run.
buildPackages=(
  g++ cmake ninja-build pkg-config
  capnproto libcapnp-dev libboost-dev libsystemd-dev
  libcli11-dev libfmt-dev nlohmann-json3-dev libtoml11-dev
)
# To build the tests, and the programs that they and bench/ drive or compare with.
testPackages=(libgtest-dev libgmock-dev relacy-dev python3 parallel procps less vim-tiny make task-spooler)
# To check the sources, and for the fuzz preset.
checkPackages=(clang libclang-rt-dev clang-format clang-tidy shellcheck)
# To boot a machine of its own with systemd for tests/systemd, which only root can.
machinePackages=(mmdebstrap systemd-container)

# Prints those of its arguments that are not installed.
missingPackages() {
  local package status
  for package; do
    status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) || status=none
    [[ $status == installed ]] || printf '%s\n' "$package"
  done
}

# Installs those of its arguments that are missing: as root itself, else through sudo. What apt-get says is shown
# if it fails. Ends the script with a sentence on what to do where it cannot.
installPackages() {
  if [[ ! -e /etc/debian_version ]] || ! command -v apt-get >/dev/null; then
    printf 'This script installs packages on Debian 12 only. Elsewhere install what corresponds to these,\n' >&2
    printf 'then follow "Building" in README.md:\n\n  %s\n' "$*" >&2
    exit 1
  fi
  local missing=()
  mapfile -t missing < <(missingPackages "$@")
  ((${#missing[@]})) || return 0

  local asRoot=()
  if ((EUID != 0)); then
    if ! command -v sudo >/dev/null; then
      printf 'Some packages are missing, and there is no sudo to install them. Say as root, then start again:\n\n' >&2
      printf '  apt-get update && apt-get install --no-install-recommends %s\n' "${missing[*]}" >&2
      exit 1
    fi
    asRoot=(sudo)
  fi
  printf '==> Installing from Debian%s: %s\n' "${asRoot[0]:+ (with sudo)}" "${missing[*]}"
  local log
  log=$(mktemp)
  if ! {
    "${asRoot[@]}" apt-get -qq update &&
      "${asRoot[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get -qq install -y --no-install-recommends "${missing[@]}"
  } >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    printf '\napt-get could not install them: its last words are above.\n' >&2
    rm -f "$log"
    exit 1
  fi
  rm -f "$log"
}
