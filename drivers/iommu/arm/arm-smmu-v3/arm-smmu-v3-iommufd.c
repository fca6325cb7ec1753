// SPDX-License-Identifier: GPL-2.0-only
/*
 * ARM SMMUv3: guests that have an SMMU of their own
 *
 * Copyright (C) 2026 The linux-iopf authors
 *
 * A guest has a stream table, tables of context descriptors, and page tables, all at
 * addresses that the second stage translates. Of these the hardware reads the
 * descriptors and the page tables. The entries of the stream table it does not see:
 * what belongs to the first stage is put into the host's, by a nested domain.
 *
 * Translations have the VMID of the second stage, in which all ASIDs are the guest's.
 * So several vIOMMUs on one second stage share their ASIDs: who gives a guest several
 * SMMUs that know nothing of each other needs a nest parent for each.
 *
 * arm_smmu_device::streams_mutex protects who has a device. It is held while an event
 * is reported, so that after a detach there are none for that guest any more.
 */
#include <linux/bitfield.h>
#include <linux/iommu.h>
#include <linux/iommufd.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <uapi/linux/iommufd.h>

#include "arm-smmu-v3.h"
#include "../../iopf-core.h"

/* What a guest may have in its stream table entries */
#define GUEST_STE_0	(STRTAB_STE_0_V | STRTAB_STE_0_CFG | STRTAB_STE_0_S1FMT | \
			 STRTAB_STE_0_S1CTXPTR_MASK | STRTAB_STE_0_S1CDMAX)
#define GUEST_STE_1	(STRTAB_STE_1_S1DSS | STRTAB_STE_1_S1CIR |		\
			 STRTAB_STE_1_S1COR | STRTAB_STE_1_S1CSH |		\
			 STRTAB_STE_1_S1STALLD | STRTAB_STE_1_EATS)

static struct arm_vsmmu *to_vsmmu(struct iommufd_viommu *core)
{
	return container_of(core, struct arm_vsmmu, core);
}

static unsigned int nested_config(const struct arm_smmu_nested_domain *nested)
{
	return FIELD_GET(STRTAB_STE_0_CFG, le64_to_cpu(nested->ste[0]));
}

/**
 * arm_smmu_nested_parent() - Whose invalidations reach the devices of a nested domain?
 * @domain: the nested domain
 *
 * Return: the second stage.
 */
struct arm_smmu_domain *arm_smmu_nested_parent(struct iommu_domain *domain)
{
	return to_smmu_nested_domain(domain)->vsmmu->s2_parent;
}

/**
 * arm_smmu_nested_has_ats() - Do devices have addresses of a guest's first stage?
 * @domain: the domain, of any kind
 *
 * Return: true if the second stage cannot tell what is in their caches.
 */
bool arm_smmu_nested_has_ats(struct iommu_domain *domain)
{
	return domain->type == IOMMU_DOMAIN_NESTED &&
	       to_smmu_nested_domain(domain)->enable_ats &&
	       nested_config(to_smmu_nested_domain(domain)) ==
		       STRTAB_STE_0_CFG_S1_TRANS;
}

/**
 * arm_smmu_nested_pasids() - Whose page requests are handled by a domain?
 * @domain: a domain of a RID, or NULL
 *
 * Return: those of all PASIDs if it is a nested domain.
 */
ioasid_t arm_smmu_nested_pasids(struct iommu_domain *domain)
{
	return domain && domain->type == IOMMU_DOMAIN_NESTED ? IOPF_ANY_PASID :
							      IOMMU_NO_PASID;
}

/*
 * What is the host's to decide stays so: ATS, how page requests are answered that find
 * no room, and that no device is held but those that may be. A fault of the second
 * stage is nothing that the guest could mend, so none waits for it.
 */
static void make_nested_ste(struct arm_smmu_ste *target,
			    struct arm_smmu_master *master,
			    struct arm_smmu_nested_domain *nested,
			    bool ats_enabled)
{
	u64 ste0 = le64_to_cpu(nested->ste[0]);
	u64 ste1 = le64_to_cpu(nested->ste[1]) & ~STRTAB_STE_1_EATS;

	if (nested_config(nested) == STRTAB_STE_0_CFG_ABORT) {
		arm_smmu_make_abort_ste(target);
		return;
	}
	arm_smmu_make_s2_domain_ste(target, master, nested->vsmmu->s2_parent,
				    ats_enabled);
	target->data[2] &= ~cpu_to_le64(STRTAB_STE_2_S2S);
	if (nested_config(nested) == STRTAB_STE_0_CFG_BYPASS)
		return;

	ste0 &= ~STRTAB_STE_0_CFG;
	ste0 |= FIELD_PREP(STRTAB_STE_0_CFG, STRTAB_STE_0_CFG_NESTED);
	/* A guest may have its devices fault again and again. */
	ste1 |= STRTAB_STE_1_MEV;
	if (master->smmu->features & ARM_SMMU_FEAT_STALLS &&
	    !master->stall_enabled)
		ste1 |= STRTAB_STE_1_S1STALLD;
	if (master->prg_resp_needs_pasid && master->ssid_bits)
		ste1 |= STRTAB_STE_1_PPAR;
	target->data[0] = cpu_to_le64(ste0);
	target->data[1] |= cpu_to_le64(ste1);
}

/* Without a first stage there is nothing that needs the stream ID. */
static int make_vmaster(struct arm_smmu_attach_state *state,
			struct arm_smmu_nested_domain *nested)
{
	struct arm_smmu_vmaster *vmaster;
	unsigned long vsid;
	int ret;

	ret = iommufd_viommu_get_vdev_id(&nested->vsmmu->core,
					 state->master->dev, &vsid);
	if (ret)
		return nested_config(nested) == STRTAB_STE_0_CFG_S1_TRANS ?
			       ret : 0;
	vmaster = kzalloc(sizeof(*vmaster), GFP_KERNEL_ACCOUNT);
	if (!vmaster)
		return -ENOMEM;
	vmaster->vsmmu = nested->vsmmu;
	vmaster->vsid = vsid;
	state->vmaster = vmaster;
	return 0;
}

/**
 * arm_smmu_vmaster_commit() - The RID of a device has another domain
 * @state: what it is to a guest now, if anything
 *
 * Context: may sleep.
 */
void arm_smmu_vmaster_commit(struct arm_smmu_attach_state *state)
{
	struct arm_smmu_master *master = state->master;
	struct arm_smmu_vmaster *old;

	if (state->ssid != IOMMU_NO_PASID)
		return;
	mutex_lock(&master->smmu->streams_mutex);
	old = master->vmaster;
	master->vmaster = state->vmaster;
	mutex_unlock(&master->smmu->streams_mutex);
	kfree(old);
}

static int arm_smmu_attach_dev_nested(struct iommu_domain *domain,
				      struct device *dev)
{
	struct arm_smmu_nested_domain *nested = to_smmu_nested_domain(domain);
	struct arm_smmu_master *master = dev_iommu_priv_get(dev);
	struct arm_smmu_attach_state state = {
		.master = master,
		.old_domain = iommu_get_domain_for_dev(dev),
		.ssid = IOMMU_NO_PASID,
	};
	struct arm_smmu_ste ste;
	int ret;

	if (nested->vsmmu->smmu != master->smmu)
		return -EINVAL;
	if (arm_smmu_ssids_in_use(&master->cd_table))
		return -EBUSY;
	ret = make_vmaster(&state, nested);
	if (ret)
		return ret;

	/*
	 * With a first stage, what the device has in its cache is for the guest to
	 * invalidate. One that does not know of ATS would not.
	 */
	switch (nested_config(nested)) {
	case STRTAB_STE_0_CFG_ABORT:
		state.disable_ats = true;
		break;
	case STRTAB_STE_0_CFG_S1_TRANS:
		state.disable_ats = !nested->enable_ats;
		break;
	}

	mutex_lock(&arm_smmu_asid_lock);
	ret = arm_smmu_attach_prepare(&state, domain);
	if (ret) {
		mutex_unlock(&arm_smmu_asid_lock);
		kfree(state.vmaster);
		return ret;
	}
	make_nested_ste(&ste, master, nested, state.ats_enabled);
	arm_smmu_install_ste_for_dev(master, &ste);
	arm_smmu_clear_cd(master, IOMMU_NO_PASID);
	arm_smmu_attach_commit(&state);
	mutex_unlock(&arm_smmu_asid_lock);
	arm_smmu_iopf_drain(master, arm_smmu_nested_pasids(state.old_domain));
	return 0;
}

static void arm_smmu_domain_free_nested(struct iommu_domain *domain)
{
	kfree(to_smmu_nested_domain(domain));
}

static const struct iommu_domain_ops arm_smmu_nested_ops = {
	.attach_dev	= arm_smmu_attach_dev_nested,
	.free		= arm_smmu_domain_free_nested,
};

static int check_guest_ste(struct iommu_hwpt_arm_smmuv3 *user, bool *ats)
{
	u64 ste0 = le64_to_cpu(user->ste[0]), ste1 = le64_to_cpu(user->ste[1]);

	*ats = false;
	if (!(ste0 & STRTAB_STE_0_V)) {
		memset(user, 0, sizeof(*user));
		return 0;
	}
	if (ste0 & ~GUEST_STE_0 || ste1 & ~GUEST_STE_1)
		return -EIO;

	switch (FIELD_GET(STRTAB_STE_0_CFG, ste0)) {
	case STRTAB_STE_0_CFG_ABORT:
	case STRTAB_STE_0_CFG_BYPASS:
	case STRTAB_STE_0_CFG_S1_TRANS:
		break;
	default:
		return -EIO;
	}

	/* One whose devices get addresses of the first stage is not offered. */
	switch (FIELD_GET(STRTAB_STE_1_EATS, ste1)) {
	case STRTAB_STE_1_EATS_ABT:
		return 0;
	case STRTAB_STE_1_EATS_TRANS:
		*ats = true;
		return 0;
	default:
		return -EIO;
	}
}

static struct iommu_domain *
arm_vsmmu_alloc_nested(struct iommufd_viommu *core, u32 flags,
		       const struct iommu_user_data *user_data)
{
	struct arm_smmu_nested_domain *nested;
	struct iommu_hwpt_arm_smmuv3 user;
	bool ats;
	int ret;

	if (flags)
		return ERR_PTR(-EOPNOTSUPP);
	ret = iommu_copy_struct_from_user(&user, user_data,
					  IOMMU_HWPT_DATA_ARM_SMMUV3, ste);
	if (ret)
		return ERR_PTR(ret);
	ret = check_guest_ste(&user, &ats);
	if (ret)
		return ERR_PTR(ret);

	nested = kzalloc(sizeof(*nested), GFP_KERNEL_ACCOUNT);
	if (!nested)
		return ERR_PTR(-ENOMEM);
	nested->domain.type = IOMMU_DOMAIN_NESTED;
	nested->domain.ops = &arm_smmu_nested_ops;
	nested->vsmmu = to_vsmmu(core);
	nested->enable_ats = ats;
	nested->ste[0] = user.ste[0];
	nested->ste[1] = user.ste[1];
	return &nested->domain;
}

static int arm_vsmmu_vdevice_init(struct iommufd_vdevice *vdev)
{
	struct device *dev = iommufd_vdevice_to_device(vdev);
	struct arm_smmu_master *master = dev_iommu_priv_get(dev);

	/* Commands and events have 32 bits for it. */
	if (vdev->virt_id > U32_MAX)
		return -EINVAL;
	/* One of the guest's stands for one of the host's. */
	return master->num_streams == 1 ? 0 : -EOPNOTSUPP;
}

/* The next on this second stage must not find ASIDs that were this one's. */
static void arm_vsmmu_destroy(struct iommufd_viommu *core)
{
	struct arm_vsmmu *vsmmu = to_vsmmu(core);
	u16 vmid = vsmmu->s2_parent->s2_cfg.vmid;
	u64 cmd[CMDQ_ENT_DWORDS] = {
		FIELD_PREP(CMDQ_0_OP, CMDQ_OP_TLBI_NH_ALL) |
			FIELD_PREP(CMDQ_TLBI_0_VMID, vmid),
	};

	arm_smmu_cmdq_issue_cmdlist(vsmmu->smmu, &vsmmu->smmu->cmdq, cmd, 1,
				    true);
}

static const struct iommufd_viommu_ops arm_vsmmu_ops = {
	.destroy		= arm_vsmmu_destroy,
	.alloc_domain_nested	= arm_vsmmu_alloc_nested,
	.cache_invalidate	= arm_vsmmu_invalidate,
	.vdevice_init		= arm_vsmmu_vdevice_init,
};

/**
 * arm_smmu_viommu_size() - Can a guest have a part of the SMMU of a device?
 * @dev: the device
 * @type: what kind of part
 *
 * Return: size of the struct, or 0.
 */
size_t arm_smmu_viommu_size(struct device *dev, unsigned int type)
{
	struct arm_smmu_master *master = dev_iommu_priv_get(dev);
	struct arm_smmu_device *smmu = master->smmu;

	if (type != IOMMU_VIOMMU_TYPE_ARM_SMMUV3 ||
	    !(smmu->features & ARM_SMMU_FEAT_NESTING))
		return 0;
	/* Each command would have to be followed by a CMD_SYNC. */
	if (smmu->options & ARM_SMMU_OPT_CMDQ_FORCE_SYNC)
		return 0;
	/* A guest could let its devices write past the caches of the host. */
	if (!(smmu->features & ARM_SMMU_FEAT_S2FWB))
		return 0;
	return iommufd_viommu_size(struct arm_vsmmu, core);
}

/**
 * arm_smmu_viommu_init() - Set up a part of an SMMU for a guest
 * @core: the struct
 * @parent: the second stage
 * @user_data: ignored
 *
 * Return: 0, or -EINVAL if @parent is that of another SMMU.
 */
int arm_smmu_viommu_init(struct iommufd_viommu *core,
			 struct iommu_domain *parent,
			 const struct iommu_user_data *user_data)
{
	struct arm_smmu_device *smmu =
		container_of(core->iommu_dev, struct arm_smmu_device, iommu);
	struct arm_smmu_domain *s2_parent = to_smmu_domain(parent);
	struct arm_vsmmu *vsmmu = to_vsmmu(core);

	if (s2_parent->smmu != smmu)
		return -EINVAL;
	vsmmu->smmu = smmu;
	vsmmu->s2_parent = s2_parent;
	core->ops = &arm_vsmmu_ops;
	return 0;
}

MODULE_IMPORT_NS(IOMMUFD);
