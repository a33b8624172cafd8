# services.cardume.enable = true; the unit is the package's own, with what NixOS adds.
{ config, lib, pkgs, ... }:
let
  cfg = config.services.cardume;
  toml = pkgs.formats.toml { };
  # Tables of which the daemon takes over every key while it runs; a test holds this to what the node does.
  liveTables = [ "exchange" "fetch" "follow" "peer" "publish" "rates" "share" "topic" "tunnel" ];
in
{
  options.services.cardume = {
    enable = lib.mkEnableOption "a cardume node";
    package = lib.mkOption {
      type = lib.types.package;
      default = pkgs.callPackage ./package.nix { };
      description = "The cardume package.";
    };
    settings = lib.mkOption {
      type = toml.type;
      default = { };
      example = { share.isos.path = "/srv/isos"; };
      description = "The configuration; see `cardume config example`.";
    };
    writablePaths = lib.mkOption {
      type = lib.types.listOf lib.types.path;
      default = [ ];
      description = "Directories that `settings.fetch` writes to; the user cardume must be able to.";
    };
    openFirewall = lib.mkEnableOption "port 4011 and mDNS in the firewall";
  };
  config = lib.mkIf cfg.enable {
    users.users.cardume = {
      isSystemUser = true;
      group = "cardume";
      home = "/var/lib/cardume";
    };
    users.groups.cardume = { };
    environment.systemPackages = [ cfg.package ];
    environment.etc."cardume/cardume.toml".source =
      pkgs.runCommand "cardume.toml" { } ''
        cp ${toml.generate "cardume.toml" cfg.settings} $out
        # A mistake fails the build, not the service.
        HOME=$TMPDIR ${lib.getExe cfg.package} --config $out config check
      '';
    systemd.packages = [ cfg.package ];
    systemd.services.cardume = {
      wantedBy = [ "multi-user.target" ];
      # Both name the file, so that a switch restarts the node for what needs it, and reloads it for the rest.
      reloadTriggers = [ config.environment.etc."cardume/cardume.toml".source ];
      restartTriggers = [ (toml.generate "restart.toml" (removeAttrs cfg.settings liveTables)) ];
      serviceConfig.ReadWritePaths = cfg.writablePaths;
    };
    networking.firewall = lib.mkIf cfg.openFirewall {
      allowedTCPPorts = [ 4011 ];
      allowedUDPPorts = [ 4011 5353 ];
    };
  };
}
