#!/usr/bin/env python
"""setup.py of the stand-in: takes the command line of the agent's own and installs for Arch Linux where that would."""
import os
import sys

from setuptools import find_packages, setup
from setuptools.command.install import install as base_install

from azurelinuxagent.common.osutil import get_osutil
from azurelinuxagent.common.version import AGENT_NAME, AGENT_VERSION, DISTRO_NAME

os.chdir(os.path.dirname(os.path.abspath(__file__)))


def data_files(distribution):
    if distribution != 'arch':
        sys.exit('the stand-in of the agent knows --lnx-distro=arch only, not ' + distribution)
    osutil = get_osutil()
    return [
        ('/usr/bin', ['bin/waagent']),
        ('/etc', ['config/arch/waagent.conf']),
        ('/etc/udev/rules.d', ['config/66-azure-storage.rules', 'config/99-azure-product-uuid.rules']),
        (osutil.get_systemd_unit_file_install_path(), ['init/arch/waagent.service']),
    ]


class install(base_install):
    user_options = base_install.user_options + [
        ('lnx-distro=', None, 'target Linux distribution'),
        ('lnx-distro-version=', None, 'target Linux distribution version'),
        ('lnx-distro-fullname=', None, 'target Linux distribution full name'),
        ('register-service', None, 'register as startup service and start'),
        ('skip-data-files', None, 'skip data files installation'),
    ]
    boolean_options = base_install.boolean_options + ['register-service', 'skip-data-files']

    def initialize_options(self):
        base_install.initialize_options(self)
        self.lnx_distro = DISTRO_NAME
        self.lnx_distro_version = self.lnx_distro_fullname = None
        self.register_service = self.skip_data_files = False

    def finalize_options(self):
        base_install.finalize_options(self)
        if not self.skip_data_files:
            self.distribution.data_files = data_files(self.lnx_distro)
            self.distribution.reinitialize_command('install_data', True)

    def run(self):
        base_install.run(self)
        if self.register_service:
            get_osutil().register_agent_service()


setup(
    name=AGENT_NAME,
    version=AGENT_VERSION,
    packages=find_packages(exclude=['tests*']),
    install_requires=['distro'],
    cmdclass={'install': install},
)
